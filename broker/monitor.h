/* monitor.h - the console's `monitor` command: JMQ's figures and handles of one broker (jmq-cluster.md 1.7).
 * Threads: b->control's. */
#ifndef CJMQ_BROKER_MONITOR_H
#define CJMQ_BROKER_MONITOR_H

struct telnet_call;

/* The options and names for completion; what `help monitor` shows. Static strings. */
const char *monitor_sub_words(void);
const char *monitor_usage(void);
/* Answers `monitor -i NAME ...`; arg is the struct broker. */
void monitor_on_call(struct telnet_call *call, void *arg);

#endif
