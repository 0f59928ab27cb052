# The build stage has pip and the build backend; the image has neither, nor anything they left.
# With wheels in wheelhouse/ (`make wheelhouse`) nothing is asked of the network.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
SHELL ["/bin/sh", "-euc"]
ENV PIP_CONFIG_FILE=/build/pip.conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The dependencies first: they change less often than the code. The glob may match nothing.
COPY locks/run.txt locks/build.txt wheelhouse* wheelhouse/
RUN if ls wheelhouse/*.whl >/dev/null 2>&1; then \
        printf '[install]\nno-index = true\nfind-links = /build/wheelhouse\n' > pip.conf; \
    fi; \
    python3 -m venv tools; \
    python3 -m venv --without-pip /venv; \
    tools/bin/pip install --require-hashes -r wheelhouse/build.txt; \
    tools/bin/pip --python /venv/bin/python install \
        --require-hashes --only-binary :all: --no-compile -r wheelhouse/run.txt

# Compiled here, for the user of the image cannot write; without a look at the source's time on
# every import. Tests that dependencies bring along stay behind.
COPY pyproject.toml README.md LICENSE source/
COPY consumer source/consumer
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist source/; \
    tools/bin/pip --python /venv/bin/python install --no-deps --no-compile dist/*.whl; \
    find /venv -type d \( -name tests -o -name test \) -prune -exec rm -r {} +; \
    /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

FROM ${BASE} AS production
# The official base has a pip of its own.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip*
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CONSUMER_EVENT__PATH=/etc/consumer/models \
    CONSUMER_HTTP__HOST=0.0.0.0 \
    CONSUMER_HTTP__PORT=8080
# Where config.toml is looked for, if one is mounted.
WORKDIR /etc/consumer
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/venv/bin/python", "-m", "consumer.healthcheck"]
ENTRYPOINT ["consumer"]
CMD ["run"]

ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="login-consumer" \
      org.opencontainers.image.description="Takes login events off Amazon SQS, masks them and writes each to PostgreSQL exactly once." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The queue and the producer of docker-compose.yml: `--target devkit`.
FROM production AS devkit
COPY devkit/__init__.py devkit/feed.py /opt/devkit/
COPY devkit/sqs /opt/devkit/sqs
ENV PYTHONPATH=/opt
LABEL org.opencontainers.image.title="login-consumer-devkit" \
      org.opencontainers.image.description="A test double of SQS and made-up login events, to try login-consumer with."
ENTRYPOINT ["python", "-m"]
CMD ["devkit.sqs"]

# The last stage is what a build without a target makes.
FROM production
