package bench;

/** What is written to a topic, and the partition that it goes to: that of its source. */
record Output(byte[] bytes, int partition) {}
