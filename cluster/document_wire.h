/* document_wire.h - how brokers and tools talk to a registry about documents: request codes 7001 to 7005 of remoting/codes.h, the names of
 * their ext fields, and the shape of their bodies. Ordinary remoting commands; other name servers answer them with code 3, which a
 * broker takes as "this is no CJMQ registry" and then lives without documents.
 *
 * CJMQ_DOCUMENT_GET 7001      broker -> registry
 *   ext  name = broker | topic; version (optional: that version, else the current one)
 *   answer  0, ext version, ext timestamp (ms), body compact JSON;  22 no such document or version;  1 unknown name
 * CJMQ_DOCUMENT_WATCH 7002    broker -> registry, once per connection
 *   ext  brokerAddr (the watcher's own "ip:port"; also accepted empty, from tools)
 *   answer  0, ext brokerVersion, topicVersion: current versions, 0 when there is no such document. The watcher then asks for what it
 *   lacks by 7001; from the answer on, every change is pushed on this connection.
 * CJMQ_DOCUMENT_CHANGED 7003  registry -> broker, oneway
 *   ext  name, version, timestamp;  body the whole document, compact JSON. Versions of one document only grow (a rollback makes a new
 *   version); a watcher ignores a version that is not larger than the one it has from this registry.
 * CJMQ_DOCUMENT_COMMAND 7004  broker (for its telnet console) or tool -> registry
 *   ext  name, action = get | set | check | history | diff | rollback, user, password, peer (address of the operator's session, for the
 *        history), version, version2 (history: number of entries; diff: from and to; rollback: to which)
 *   body the JSON text as typed, for set and check
 *        (0 or absent: the current one, or for diff's `version` and for rollback the one before it)
 *   answer  0, ext outcome (below), status (telnet status number of JMQ), version (current after the command), warnings (check: their
 *           number), body the text for the operator; 16 wrong user or password (remark). All actions need credentials.
 *           outcome  done      set, rollback stored (body: warnings, one per line, or empty)    -> telnet document_reply_done()
 *                    document  body is the document                                             -> document_reply_get()
 *                    missing   no such document or version                                      -> document_reply_missing()
 *                    refused   body says why, nothing stored                                    -> document_reply_refused()
 *                    checked   valid, nothing stored; body: warnings, one per line              -> document_reply_check()
 *                    failed    the registry's database failed, body says how                    -> document_reply_failed()
 *                    text      history, diff: body is plain text                                -> telnet_reply_text()
 * CJMQ_CLUSTER_STATUS 7005    anyone -> registry
 *   answer  0, body: JSON array, one object for each broker of the document and each live one, sorted by group, role, address:
 *     {"address":"1.2.3.4:50088","group":"g","role":"MASTER","permission":"FULL","alive":true,"lastHeartbeat":1700000000000,
 *      "source":"document"|"properties","alias":"g_m","cluster":"DefaultCluster","brokerId":0,"syncMode":"SYNCHRONOUS"}
 *   lastHeartbeat 0: never heard of; alias and syncMode only when the document gives them. */
#ifndef CJMQ_CLUSTER_DOCUMENT_WIRE_H
#define CJMQ_CLUSTER_DOCUMENT_WIRE_H

#define DOCUMENT_FIELD_NAME "name"
#define DOCUMENT_FIELD_VERSION "version"
#define DOCUMENT_FIELD_VERSION2 "version2"
#define DOCUMENT_FIELD_TIMESTAMP "timestamp"
#define DOCUMENT_FIELD_BROKER_ADDR "brokerAddr"
#define DOCUMENT_FIELD_BROKER_VERSION "brokerVersion"
#define DOCUMENT_FIELD_TOPIC_VERSION "topicVersion"
#define DOCUMENT_FIELD_ACTION "action"
#define DOCUMENT_FIELD_USER "user"
#define DOCUMENT_FIELD_PASSWORD "password"
#define DOCUMENT_FIELD_PEER "peer"
#define DOCUMENT_FIELD_STATUS "status"
#define DOCUMENT_FIELD_OUTCOME "outcome"
#define DOCUMENT_FIELD_WARNINGS "warnings"

#define DOCUMENT_ACTION_GET "get"
#define DOCUMENT_ACTION_SET "set"
#define DOCUMENT_ACTION_CHECK "check"
#define DOCUMENT_ACTION_HISTORY "history"
#define DOCUMENT_ACTION_DIFF "diff"
#define DOCUMENT_ACTION_ROLLBACK "rollback"

#define DOCUMENT_OUTCOME_DONE "done"
#define DOCUMENT_OUTCOME_DOCUMENT "document"
#define DOCUMENT_OUTCOME_MISSING "missing"
#define DOCUMENT_OUTCOME_REFUSED "refused"
#define DOCUMENT_OUTCOME_CHECKED "checked"
#define DOCUMENT_OUTCOME_FAILED "failed"
#define DOCUMENT_OUTCOME_TEXT "text"

/* Ext fields that CJMQ brokers add to REGISTER_BROKER (103) so that `cluster` can show what a broker took from its properties; other
 * name servers ignore them. */
#define REGISTER_FIELD_ROLE "cjmqRole"             /* MASTER, SLAVE, BACKUP, NONE */
#define REGISTER_FIELD_PERMISSION "cjmqPermission" /* FULL, READ, WRITE, NONE */

#endif
