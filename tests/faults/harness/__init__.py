"""The service as real processes between a real PostgreSQL and a queue that misbehaves on demand.

`rig` puts it together; `queue_server` is the queue in a process of its own, `proxy` the network,
`replicas` the service, `timeline` what was seen, `judge` the checker's verdict, `report` and `live`
tell of it.
"""
