/* document_wire.h - how brokers and tools talk to a registry about documents: request codes 7001 to 7006 of
 * remoting/codes.h, the names of their ext fields, and the shape of their bodies. Ordinary remoting commands;
 * other name servers answer them with code 3, which a broker takes as "this is no CJMQ registry" and then
 * lives without documents.
 *
 * CJMQ_DOCUMENT_GET 7001      broker -> registry
 *   ext     name = broker | topic; version (optional: that version), or time (optional: the version of that time,
 *           and crc32: of its text, if there are two); without both the current one
 *   answer  0, ext version, timestamp (ms), crc32, author, peer, origin ("set", "rollback to 3", "promote g_s",
 *           with " at REGISTRY" behind it when it was carried here), body compact JSON; 22: none such; 1: unknown
 *           name
 *
 * CJMQ_DOCUMENT_WATCH 7002    broker -> registry, once per connection
 *   ext     brokerAddr (the watcher's own "ip:port"; may be empty)
 *   answer  0, ext brokerVersion, topicVersion: current versions, 0 when there is no such document. The
 *           watcher then asks for what it lacks by 7001; from the answer on, every change is pushed on this
 *           connection.
 *
 * CJMQ_DOCUMENT_CHANGED 7003  registry -> broker, oneway
 *   ext     name, version, timestamp, author, peer, origin
 *   body    the whole document, compact JSON. What is newer is told by the time (a rollback makes a new one),
 *           and in the same millisecond by the CRC-32 of the text; a watcher ignores what is not newer.
 *
 * CJMQ_DOCUMENT_COMMAND 7004  broker (for its telnet console) or tool -> registry
 *   ext     name; action = get | set | check | history | diff | rollback | promote | import;
 *           user, password;
 *           peer: address of the operator's session, for the history;
 *           version: get, rollback: which one; diff: from. 0 or absent: the current one, for diff and
 *                    rollback the one before it;
 *           version2: diff: to (0: the current one); history: number of entries (0: 20)
 *           target: promote (name = broker): alias or ip:port of the slave that becomes master;
 *           force = true: even if the registry has not heard of it
 *           import: timestamp, author, peer, origin: of the version, as its registry tells them by 7001. It is
 *                   stored if it is not here (same time and text), and in force if no newer one is here: done
 *   body    the JSON text as typed, for set, check and import
 *   answer  0, ext outcome (below), status (telnet status number of JMQ), version and timestamp (in force
 *           after the command), warnings (their number), body the text; 16: wrong user or password (remark).
 *           All actions need both.
 *
 *     outcome   means                                                 telnet reply
 *     done      stored; body: warnings, one per line                  document_reply_done()
 *     document  body is the document                                  document_reply_get()
 *     missing   get: no such document or version                      document_reply_missing()
 *     refused   nothing stored; body says why                         document_reply_refused()
 *     checked   valid, nothing stored; body: warnings, one per line   document_reply_check()
 *     failed    the registry's database failed; body says how         document_reply_failed()
 *     text      history, diff: body is text for people                telnet_reply_text()
 *
 * CJMQ_CLUSTER_STATUS 7005    anyone -> registry
 *   answer  0, body: JSON array, one object for each broker of the document and each live one, sorted by
 *           group, role and address:
 *     {"address":"1.2.3.4:50088","group":"g","role":"MASTER","permission":"FULL","alive":true,
 *      "lastHeartbeat":1700000000000,"source":"document"|"properties","brokerId":0,
 *      "cluster":"DefaultCluster","alias":"g_m","syncMode":"SYNCHRONOUS"}
 *           lastHeartbeat 0: never heard of since the registry's start; cluster only when alive; alias, syncMode only from the document.
 *
 * CJMQ_DOCUMENT_VERSIONS 7006 broker -> registry
 *   ext     name; before (optional, ms: only versions from before that time)
 *   answer  0, ext kept (documentVersionsKept; 0: all), more (true: there are older ones, to be asked for with
 *           before = the last time), body: JSON array, newest first, at most DOCUMENT_VERSIONS_PAGE and those of
 *           the same millisecond as the last:
 *     [{"version":3,"time":1700000000000,"bytes":41,"crc32":123},...]
 *
 * A version is the same in every registry by its time and the crc32 of its text; its number is each registry's
 * own. Registries do not talk to each other: brokers compare (7006) and carry (7001, 7004 import). */
#ifndef CJMQ_CLUSTER_DOCUMENT_WIRE_H
#define CJMQ_CLUSTER_DOCUMENT_WIRE_H

#define DOCUMENT_FIELD_NAME "name"
#define DOCUMENT_FIELD_VERSION "version"
#define DOCUMENT_FIELD_VERSION2 "version2"
#define DOCUMENT_FIELD_TIMESTAMP "timestamp"
#define DOCUMENT_FIELD_TIME "time"
#define DOCUMENT_FIELD_CRC32 "crc32"
#define DOCUMENT_FIELD_BEFORE "before"
#define DOCUMENT_FIELD_KEPT "kept"
#define DOCUMENT_FIELD_MORE "more"
#define DOCUMENT_FIELD_AUTHOR "author"
#define DOCUMENT_FIELD_ORIGIN "origin"
#define DOCUMENT_FIELD_BROKER_ADDR "brokerAddr"
#define DOCUMENT_FIELD_BROKER_VERSION "brokerVersion"
#define DOCUMENT_FIELD_TOPIC_VERSION "topicVersion"
#define DOCUMENT_FIELD_ACTION "action"
#define DOCUMENT_FIELD_USER "user"
#define DOCUMENT_FIELD_PASSWORD "password"
#define DOCUMENT_FIELD_PEER "peer"
#define DOCUMENT_FIELD_TARGET "target"
#define DOCUMENT_FIELD_FORCE "force"
#define DOCUMENT_FIELD_STATUS "status"
#define DOCUMENT_FIELD_OUTCOME "outcome"
#define DOCUMENT_FIELD_WARNINGS "warnings"

#define DOCUMENT_ACTION_GET "get"
#define DOCUMENT_ACTION_SET "set"
#define DOCUMENT_ACTION_CHECK "check"
#define DOCUMENT_ACTION_HISTORY "history"
#define DOCUMENT_ACTION_DIFF "diff"
#define DOCUMENT_ACTION_ROLLBACK "rollback"
#define DOCUMENT_ACTION_PROMOTE "promote"
#define DOCUMENT_ACTION_IMPORT "import"

#define DOCUMENT_OUTCOME_DONE "done"
#define DOCUMENT_OUTCOME_DOCUMENT "document"
#define DOCUMENT_OUTCOME_MISSING "missing"
#define DOCUMENT_OUTCOME_REFUSED "refused"
#define DOCUMENT_OUTCOME_CHECKED "checked"
#define DOCUMENT_OUTCOME_FAILED "failed"
#define DOCUMENT_OUTCOME_TEXT "text"

enum { DOCUMENT_VERSIONS_PAGE = 500 };

/* In the origin of a carried version: "set at 10.0.0.1:9876". */
#define DOCUMENT_ORIGIN_AT " at "

/* Ext fields that CJMQ brokers add to REGISTER_BROKER (103) so that `cluster` can show what a broker took
 * from its properties; other name servers ignore them. */
#define REGISTER_FIELD_ROLE "cjmqRole"             /* MASTER, SLAVE, BACKUP, NONE */
#define REGISTER_FIELD_PERMISSION "cjmqPermission" /* FULL, READ, WRITE, NONE */

#endif
