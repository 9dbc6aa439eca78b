"""The contenders of the bench: programs that do the same work, each with what its kind does best.

Each takes its settings from environment variables, runs until SIGTERM and prints nothing but errors:

- BENCH_BOOTSTRAP, BENCH_EVENTS (topic), BENCH_GROUP (also the transactional id, or its prefix);
- BENCH_MESSAGES, BENCH_STATUS, BENCH_STREAM: the topics of the outputs;
- BENCH_SCHEMAS: the folder of event.avsc, message.avsc, status.avsc and stream.avsc, each self-contained;
- BENCH_MESSAGE_ID, BENCH_STATUS_ID, BENCH_STREAM_ID: the schema ids of the outputs;
- BENCH_TENANT, BENCH_SET_VERSION: what the status says;
- BENCH_BATCH, BENCH_FETCH_WAIT_MS, BENCH_COMMIT_MS (of those that commit by time);
- BENCH_SIZES: three lengths, of the outputs of `copied`; BENCH_TRANSACTIONS=off, for `copied` without transactions.

A group without a position begins at the earliest offset. Outputs go to the partition of their source.
"""
