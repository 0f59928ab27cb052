-- What the columns hold, by the names that the commands have for it.
ALTER TABLE consumer.masking_keys RENAME COLUMN "check" TO fingerprint;

ALTER TABLE consumer.erased RENAME COLUMN person_hash TO subject_hash;
ALTER TABLE consumer.erased
    RENAME CONSTRAINT erased_person_hash_check TO erased_subject_hash_check;
