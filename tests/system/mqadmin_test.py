"""Drives the real mqadmin against a real registry and a real broker. MQADMIN, MQBROKER and MQREGISTRY name the programs."""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from registry_test import Console, Registry, eventually
from rmq import HEARTBEAT, UPDATE_OFFSET, Broker, free_port

MQADMIN = os.environ.get("MQADMIN", "mqadmin")
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
MESSAGE_ID, OFFSET_ID = "[0-9A-F]{32}", "[0-9A-F]{32}"


def heartbeat(client_id, group, topic):
    return json.dumps({"clientID": client_id, "producerDataSet": [], "consumerDataSet": [{
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
        "subscriptionDataSet": [{"topic": topic, "subString": "*", "subVersion": 1}]}]}).encode()


class Mqadmin(unittest.TestCase):
    """One registry and one broker for all tests; each uses topics of its own."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="cjmq-mqadmin-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.registry = Registry(cls.folder).start()
        cls.addClassCleanup(cls.registry.stop)
        cls.namesrv = "127.0.0.1:%d" % cls.registry.port
        cls.broker = Broker(folder=cls.folder + "/broker", namesrvAddr=cls.namesrv).start()
        cls.addClassCleanup(cls.broker.stop)
        cls.address = "127.0.0.1:%d" % cls.broker.port
        cls.environment = dict(os.environ, HOME=cls.folder, TMPDIR=cls.folder)
        eventually(lambda: "broker-a" in cls.run_tool("clusterList", "-n", cls.namesrv).stdout)

    @classmethod
    def run_tool(cls, *arguments, **environment):
        return subprocess.run([MQADMIN, *arguments], capture_output=True, text=True, timeout=60,
                              env=dict(cls.environment, **environment))

    def tool(self, command, *arguments):
        """Output lines of a sub-command that must succeed, with nothing on stderr."""
        done = self.run_tool(command, "-n", self.namesrv, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout.splitlines()

    def fails(self, command, *arguments, namesrv=None):
        """stderr of a sub-command that must fail: one sentence, led by the tool's name, and nothing on stdout."""
        done = self.run_tool(command, "-n", namesrv or self.namesrv, *arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Amqadmin %s: .+\n\Z" % command)
        return done.stderr

    def topic(self, name, queues=4):
        self.tool("updateTopic", "-c", "DefaultCluster", "-t", name, "-r", str(queues), "-w", str(queues))
        return name

    def send(self, topic, body, *more):
        lines = self.tool("sendMessage", "-t", topic, "-p", body, *more)
        self.assertEqual(lines[0].split(), ["#Broker", "Name", "#QID", "#Send", "Result", "#MsgId"])
        broker, queue, status, message_id = lines[1].split()
        self.assertEqual((broker, status, len(lines)), ("broker-a", "SEND_OK", 2))
        self.assertRegex(message_id, "^%s$" % MESSAGE_ID)
        # The columns stand below their headings.
        self.assertEqual([lines[0].index(c) for c in ("#QID", "#Send Result", "#MsgId")],
                         [lines[1].index(" %s " % queue) + 1, lines[1].index(status), lines[1].index(message_id)])
        return int(queue), message_id

    # --- messages for later ---

    def test_retry_passes_its_words_to_the_brokers_of_topic_group_or_cluster(self):
        topic = self.topic("ForLater")
        connection = self.broker.connect()
        for n in range(3):
            answer = connection.send(topic, b"%d" % n, properties={"TIMER_DELAY_SEC": "3600", "KEYS": "k%d" % n}, group="patient")
            self.assertEqual(answer.code, 0, answer)
        eventually(lambda: len(self.tool("retry", "-b", self.address, "list", "--topic", topic)) == 4)
        head, *rows = self.tool("retry", "-b", self.address, "list", "--topic", topic, "--app", "patient", "--limit", "10")
        self.assertEqual((head.split()[0], len(rows)), ("ID", 3))
        for where in (["-t", topic], ["-c", "DefaultCluster"]):
            lines = self.tool("retry", *where, "list", "--due-before", "2h")
            self.assertEqual(lines[0], "#Broker " + self.address)
            self.assertLessEqual({r.split()[0] for r in rows}, {l.split()[0] for l in lines})
        row = rows[0].split()[0]
        self.assertIn("property       KEYS=k", "\n".join(self.tool("retry", "show", row, "-b", self.address)))
        self.assertRegex(self.tool("retry", "-b", self.address, "stats")[1], "^waiting=[0-9]+ bytes=")
        self.assertEqual(self.tool("retry", "-t", topic, "drop"),
                         ["#Broker " + self.address, "3 rows would be dropped; the same with --yes does it"])
        self.assertEqual(self.tool("retry", "-b", self.address, "requeue", row), ["1 row requeued"])
        self.assertEqual(self.tool("retry", "-t", topic, "drop", "--yes"), ["#Broker " + self.address, "2 rows dropped"])
        eventually(lambda: self.tool("retry", "-t", topic, "list")[1:] == ["no rows"])
        user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
        self.assertTrue(any("verb=requeue" in l and "id=" + row in l and "user=%s " % user in l
                            for l in self.broker.log().splitlines()))
        # A group's rows: those of its retry topic's brokers.
        self.assertEqual(connection.call(HEARTBEAT, {}, heartbeat("c", "tired", topic)).code, 0)
        eventually(lambda: self.run_tool("retry", "-n", self.namesrv, "-g", "tired", "stats").returncode == 0)

    def test_retry_refusals_name_the_reason(self):
        for arguments, reason in ((["-b", self.address, "list", "--colour", "red"], "'--colour' is no option of retry"),
                                  (["-b", self.address, "frobnicate"], "list, show, stats, requeue, delay or drop was expected"),
                                  (["-b", self.address], "list, show, stats, requeue, delay or drop was expected"),
                                  (["-b", self.address, "show", "987654321"], "no such row"),
                                  (["-b", self.address, "list", "--topic", "a b"], "a word has no blanks"),
                                  (["-b", "127.0.0.1:1", "stats"], "127.0.0.1:1"), (["-t", "NoSuchTopic", "stats"], "NoSuchTopic"),
                                  (["-c", "Nowhere", "stats"], "no master of a cluster 'Nowhere'")):
            self.assertIn(reason, self.fails("retry", *arguments))
        for arguments, reason in ((["stats"], "Exactly one of these options is needed: -b -c -t -g"),
                                  (["-b", "h:1", "-t", "x", "stats"], "Exactly one of these options is needed: -b -c -t -g"),
                                  (["-b", "h:1", "list", "-x"], "Unrecognized option: -x")):
            done = self.run_tool("retry", *arguments)
            self.assertEqual((done.returncode, done.stderr), (1, reason + "\n"))
            self.assertIn("usage: mqadmin retry", done.stdout)
            self.assertIn("requeue ID|FILTERS [--yes]", done.stdout)

    # --- command line ---

    def test_without_arguments_the_sub_commands_are_listed(self):
        for arguments in ([], ["help"], ["-h"], ["--help"]):
            done = self.run_tool(*arguments)
            self.assertEqual(done.returncode, 0)
            self.assertIn("The most commonly used mqadmin commands are:", done.stdout)
            for name in ("updateTopic", "deleteTopic", "topicList", "topicRoute", "topicStatus", "brokerStatus", "clusterList",
                         "queryMsgById", "queryMsgByKey", "consumerProgress", "sendMessage", "consumeMessage", "retry"):
                self.assertRegex(done.stdout, r"(?m)^   %-35s \w" % name)

    def test_help_of_a_sub_command_names_its_options(self):
        for arguments in (["help", "sendmessage"], ["sendMessage", "-h"], ["sendMessage", "--help"]):
            done = self.run_tool(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("usage: mqadmin sendMessage -t <arg> -p <arg> [-k <arg>]", done.stdout)
            self.assertRegex(done.stdout, r"(?m)^ -t,--topic <arg> +Topic name \(required\)$")

    def test_unknown_sub_command_is_named(self):
        for arguments in (["noSuchThing"], ["help", "noSuchThing"], ["noSuchThing", "-n", "x:1"]):
            done = self.run_tool(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, "The sub command noSuchThing not exist.\n"))

    def test_wrong_arguments_give_reason_and_usage(self):
        for arguments, reason in ((["topicRoute"], "Missing required option: topic"),
                                  (["topicRoute", "-t"], "Missing argument for option: topic"),
                                  (["topicRoute", "-t", "x", "-z"], "Unrecognized option: -z"),
                                  (["topicRoute", "-t", "x", "--nosuch=1"], "Unrecognized option: --nosuch=1"),
                                  (["topicRoute", "-t", "x", "y"], "Unrecognized option: y"),
                                  (["updateTopic", "-t", "x"], "Exactly one of these options is needed: -b -c"),
                                  (["updateTopic", "-t", "x", "-b", "h:1", "-c", "c"], "Exactly one of these options is needed: -b -c"),
                                  (["brokerStatus"], "Exactly one of these options is needed: -b -c"),
                                  (["sendMessage", "-t", "x"], "Missing required option: body")):
            done = self.run_tool(*arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertEqual(done.stderr, reason + "\n")
            self.assertTrue(done.stdout.startswith("usage: mqadmin " + arguments[0]), done.stdout)

    def test_ill_typed_values_are_named_with_what_is_allowed(self):
        for command, arguments, reason in (
                ("updateTopic", ["-c", "c", "-t", "x", "-r", "many"], "--readQueueNums: 'many' is not a whole number of 1..65535"),
                ("updateTopic", ["-c", "c", "-t", "x", "-w", "0"], "--writeQueueNums: '0' is not a whole number of 1..65535"),
                ("updateTopic", ["-c", "c", "-t", "x", "-p", "9"], "--perm: '9' is not a whole number of 0..7"),
                ("updateTopic", ["-c", "c", "-t", "x", "-o", "maybe"], "--order: 'maybe' is neither true nor false"),
                ("sendMessage", ["-t", "x", "-p", "x", "-i", "1"], "a queue is chosen by --broker and --qid together"),
                ("consumeMessage", ["-t", "x", "-i", "1"], "Please set the brokerName before queueId!"),
                ("consumeMessage", ["-t", "x", "-b", "b", "-o", "1"], "Please set queueId before offset!"),
                ("consumeMessage", ["-t", "x", "-s", "yesterday"], "--beginTimestamp: 'yesterday' is neither milliseconds nor"),
                ("consumeMessage", ["-t", "x", "-e", "2026-13-01#00:00:00:000"], "--endTimestamp: '2026-13-01#00:00:00:000' is neither"),
                ("queryMsgById", ["-i", "nonsense"], "nonsense")):
            self.assertIn(reason, self.fails(command, *arguments))

    def test_options_may_be_long_and_names_in_any_case(self):
        topic = self.topic("LongOptions", 2)
        self.assertEqual(self.tool("TOPICROUTE", "--topic", topic, "--list"), self.tool("topicRoute", "--topic=" + topic, "-l"))

    def test_name_servers_come_from_the_environment_and_several_are_tried(self):
        done = self.run_tool("topicList", NAMESRV_ADDR=self.namesrv)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("TBW102", done.stdout.splitlines())
        done = self.run_tool("topicList", "-n", "127.0.0.1:%d;%s" % (free_port(), self.namesrv))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("TBW102", done.stdout.splitlines())

    def test_dead_name_server_is_named(self):
        dead = "127.0.0.1:%d" % free_port()
        for command, arguments in (("topicList", []), ("clusterList", []), ("topicRoute", ["-t", "x"]),
                                   ("updateTopic", ["-c", "c", "-t", "x"]), ("sendMessage", ["-t", "x", "-p", "x"])):
            self.assertIn(dead, self.fails(command, *arguments, namesrv=dead))

    def test_dead_name_servers_are_all_named_once(self):
        dead = ["127.0.0.1:%d" % free_port() for _ in range(2)]
        for command, arguments in (("topicList", []), ("topicRoute", ["-t", "x"]), ("updateTopic", ["-c", "c", "-t", "x"])):
            said = self.fails(command, *arguments, namesrv=";".join(dead))
            self.assertIn("no name server of 2 answers: ", said)
            self.assertEqual([said.count(address) for address in dead], [1, 1], said)
        done = self.run_tool("sendMessage", "-n", ";".join(dead), "-t", "x", "-p", "x")
        self.assertEqual([done.stderr.splitlines()[-1].count(address) for address in dead], [1, 1], done.stderr)

    # --- topics ---

    def test_update_topic_by_cluster_and_by_broker(self):
        lines = self.tool("updateTopic", "-c", "DefaultCluster", "-t", "Update", "-r", "3", "-w", "5", "-p", "4")
        self.assertEqual(lines, ["create topic to %s success." % self.address,
                                 "TopicConfig [topicName=Update, readQueueNums=3, writeQueueNums=5, perm=R--, "
                                 "topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}]"])
        self.assertRegex(self.tool("topicRoute", "-t", "Update", "-l")[1], r"\s3\s+5\s+4\s*$")
        lines = self.tool("updateTopic", "-b", self.address, "-t", "Update", "-u", "true")
        self.assertIn("readQueueNums=8, writeQueueNums=8, perm=RW-", lines[1])
        self.assertIn("topicSysFlag=1", lines[1])

    def test_update_topic_refusals(self):
        self.assertIn("'mqadmin clusterList' shows what there is", self.fails("updateTopic", "-c", "nosuch", "-t", "x"))
        self.assertIn("bad name", self.fails("updateTopic", "-b", self.address, "-t", "bad name"))
        self.assertIn("belongs to the system", self.fails("updateTopic", "-b", self.address, "-t", "SCHEDULE_TOPIC_XXXX"))
        dead = "127.0.0.1:%d" % free_port()
        self.assertIn(dead, self.fails("updateTopic", "-b", dead, "-t", "x"))

    def test_update_topic_in_order_keeps_the_order_configuration(self):
        lines = self.tool("updateTopic", "-c", "DefaultCluster", "-t", "Ordered", "-w", "2", "-o", "true")
        self.assertEqual(lines[1], "set cluster orderConf. isOrder=true, orderConf=[broker-a:2]")
        self.assertIn("order=true", lines[2])
        lines = self.tool("updateTopic", "-b", self.address, "-t", "Ordered", "-w", "3", "-o", "true")
        self.assertEqual(lines[0], "set broker orderConf. isOrder=true, orderConf=[broker-a:3]")

    def test_delete_topic_takes_it_out_of_broker_and_registry(self):
        topic = self.topic("Deleted")
        self.assertEqual(self.tool("deleteTopic", "-c", "DefaultCluster", "-t", topic),
                         ["delete topic [Deleted] from cluster [DefaultCluster] success.",
                          "delete topic [Deleted] from NameServer success."])
        self.assertIn("Deleted", self.fails("topicRoute", "-t", topic))
        self.assertNotIn(topic, self.tool("topicList"))
        self.assertIn("belongs to the system", self.fails("deleteTopic", "-c", "DefaultCluster", "-t", "SELF_TEST_TOPIC"))

    def test_topic_list_is_sorted_and_with_groups_on_request(self):
        topic = self.topic("Listed")
        plain = self.tool("topicList")
        self.assertEqual(plain, sorted(plain))
        self.assertIn(topic, plain)
        c = self.broker.connect()
        self.assertEqual(c.call(HEARTBEAT, body=heartbeat("lister", "list-group", topic)).code, 0)
        lines = self.tool("topicList", "-c")
        self.assertEqual(lines[0].split("  ")[0], "#Cluster Name")
        self.assertIn(["DefaultCluster", topic, "list-group"], [line.split() for line in lines])
        self.assertFalse([line for line in lines if "%RETRY%" in line])
        c.close()

    def test_topic_route_is_json_or_a_table(self):
        topic = self.topic("Routed", 6)
        text = "\n".join(self.tool("topicRoute", "-t", topic))
        route = json.loads(re.sub(r"(\d+):(\s*\")", r'"\1":\2', text) if '"0":' not in text else text)
        self.assertEqual(route["queueDatas"][0]["readQueueNums"], 6)
        self.assertEqual(route["brokerDatas"][0]["brokerAddrs"], {"0": self.address})
        lines = self.tool("topicRoute", "-t", topic, "-l")
        self.assertEqual(lines[0].split(), ["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"])
        self.assertEqual(lines[1].split(), ["DefaultCluster", "broker-a", "{0=%s}" % self.address, "6", "6", "6"])
        self.assertEqual(lines[2], "-" * 158)
        self.assertEqual(lines[3].split(), ["Total:", "1", "6", "6"])
        self.assertIn("no such topic", self.fails("topicRoute", "-t", "NoSuchTopic"))

    def test_topic_status_shows_each_queue(self):
        topic = self.topic("Status", 2)
        self.send(topic, "one", "-b", "broker-a", "-i", "1")
        self.send(topic, "two", "-b", "broker-a", "-i", "1")
        lines = self.tool("topicStatus", "-t", topic)
        self.assertEqual(lines[0], "%-32s  %-4s  %-20s  %-20s    %s" % ("#Broker Name", "#QID", "#Min Offset", "#Max Offset",
                                                                       "#Last Updated"))
        self.assertEqual(lines[1].split(), ["broker-a", "0", "0", "0"])
        self.assertRegex(lines[2], r"^broker-a +1 +0 +2 +%s$" % TIME)
        self.assertRegex(lines[4], r"^Topic Put TPS: \d+\.\d+$")
        self.assertIn("NoSuchTopic", self.fails("topicStatus", "-t", "NoSuchTopic"))

    # --- cluster ---

    def test_cluster_list_shows_load(self):
        lines = self.tool("clusterList")
        self.assertEqual(re.findall(r"#[A-Za-z][^#]*", lines[0])[0].strip(), "#Cluster Name")
        self.assertEqual([c.strip() for c in re.findall(r"#[A-Za-z][^#]*", lines[0])][1:],
                         ["#Broker Name", "#BID", "#Addr", "#Version", "#InTPS(LOAD)", "#OutTPS(LOAD)", "#Timer(Progress)",
                          "#PCWait(ms)", "#Hour", "#SPACE", "#ACTIVATED"])
        words = lines[1].split()
        self.assertEqual(words[:5], ["DefaultCluster", "broker-a", "0", self.address, "V4_9_8"])
        self.assertEqual(words[-1], "true")
        self.assertEqual(len(lines), 2)
        self.assertEqual(len(self.tool("clusterList", "-c", "nosuch")), 1)

    def test_cluster_list_totals_count_messages(self):
        def totals():
            lines = self.tool("clusterList", "-m")
            self.assertEqual(lines[0].split()[-4:], ["#InTotalYest", "#OutTotalYest", "#InTotalToday", "#OutTotalToday"])
            return int(lines[1].split()[4])
        topic, before = self.topic("Totals"), totals()
        self.send(topic, "x")
        self.assertEqual(totals(), before + 1)

    def test_broker_status_is_sorted(self):
        lines = self.tool("brokerStatus", "-b", self.address)
        keys = [line.split(":")[0].strip() for line in lines]
        self.assertEqual(keys, sorted(keys))
        values = dict((k.strip(), v.strip()) for k, v in (line.split(":", 1) for line in lines))
        self.assertEqual(values["brokerVersionDesc"], "V4_9_8")
        self.assertGreater(int(values["bootTimestamp"]), 1.7e12)
        lines = self.tool("brokerStatus", "-c", "DefaultCluster")
        self.assertTrue(all(line.startswith("%-24s " % self.address) for line in lines))
        self.assertIn("'mqadmin clusterList' shows", self.fails("brokerStatus", "-c", "nosuch"))
        dead = "127.0.0.1:%d" % free_port()
        self.assertIn(dead, self.fails("brokerStatus", "-b", dead))

    # --- messages ---

    def test_send_and_consume(self):
        topic = self.topic("SendConsume", 3)
        queue, first = self.send(topic, "hello world", "-k", "k1 k2", "-c", "TagA", "-b", "broker-a", "-i", "2")
        self.assertEqual(queue, 2)
        _, second = self.send(topic, "-42", "-b", "broker-a", "-i", "2")  # a value may begin with a dash
        lines = self.tool("consumeMessage", "-t", topic)
        self.assertEqual(lines.count("Consume ok"), 2)
        self.assertIn("MessageQueue [topic=%s, brokerName=broker-a, queueId=0] no matched msg, offset=0" % topic, lines)
        messages = [line for line in lines if line.startswith("MSGID: ")]
        self.assertIn("MSGID: %s MessageExt [brokerName=broker-a, queueId=2, " % first, messages[0])
        self.assertIn("TAGS=TagA", messages[0])
        self.assertTrue(messages[0].endswith("] BODY: hello world"), messages[0])
        self.assertIn(second, messages[1])
        self.assertTrue(messages[1].endswith("] BODY: -42"))

    def test_consume_a_part(self):
        topic = self.topic("Part", 1)
        ids = [self.send(topic, "m%d" % i, "-b", "broker-a", "-i", "0")[1] for i in range(3)]

        def bodies(*arguments):
            return [line.split("BODY: ")[1] for line in self.tool("consumeMessage", "-t", topic, *arguments) if "BODY: " in line]
        self.assertEqual(bodies(), ["m0", "m1", "m2"])
        self.assertEqual(bodies("-c", "2"), ["m0", "m1"])
        self.assertEqual(bodies("-b", "broker-a", "-i", "0", "-o", "1"), ["m1", "m2"])
        self.assertEqual(bodies("-b", "broker-a", "-i", "0", "-o", "3"), [])
        self.assertEqual(bodies("-s", "0"), ["m0", "m1", "m2"])
        self.assertEqual(bodies("-s", "2100-01-01#00:00:00:000"), [])
        self.assertEqual(bodies("-e", str(int(time.time() * 1000) + 60000)), ["m0", "m1", "m2"])
        self.assertIn("--offset: 4 is not within 0..3", self.fails("consumeMessage", "-t", topic, "-b", "broker-a", "-i", "0", "-o", "4"))
        self.assertIn("has no readable queue like that", self.fails("consumeMessage", "-t", topic, "-b", "broker-z"))
        self.assertIn("NoSuchTopic", self.fails("consumeMessage", "-t", "NoSuchTopic"))
        self.assertEqual(len(set(ids)), 3)

    def test_send_to_what_is_not_there(self):
        topic = self.topic("Nowhere", 1)
        self.assertIn("broker-z", self.fails("sendMessage", "-t", topic, "-p", "x", "-b", "broker-z", "-i", "0"))
        self.assertIn("queueId 7", self.fails("sendMessage", "-t", topic, "-p", "x", "-b", "broker-a", "-i", "7").replace("queue 7", "queueId 7"))

    def test_query_by_key_finds_and_by_id_shows(self):
        topic = self.topic("Query", 2)
        _, first = self.send(topic, "body one", "-k", "order-1 common", "-c", "TagB")
        _, second = self.send(topic, "body two", "-k", "order-2 common")

        def found(key, *more):
            lines = self.tool("queryMsgByKey", "-t", topic, "-k", key, *more)
            self.assertEqual(lines[0], "%-50s %4s %40s" % ("#Message ID", "#QID", "#Offset"))
            return [line.split()[0] for line in lines[1:]]
        eventually(lambda: set(found("common")) == {first, second})
        self.assertEqual(found("order-1"), [first])
        self.assertEqual(found(second), [second])  # the client's id is a key, too
        self.assertEqual(len(found("common", "-m", "1")), 1)
        self.assertEqual(found("common", "-e", "1000"), [])
        self.assertEqual(found("order"), [])

        [line] = [x for x in self.tool("consumeMessage", "-t", topic) if first in x]
        offset_id = re.search(r"msgId=(%s)," % OFFSET_ID, line).group(1)
        lines = self.tool("queryMsgById", "-i", offset_id, "-t", topic, "-f", "UTF-8")
        labels = dict(re.match(r"(.+?):\s+(.*)$", x).groups() for x in lines)
        self.assertEqual(labels["OffsetID"], offset_id)
        self.assertEqual((labels["Topic"], labels["Tags"], labels["Keys"]), (topic, "[TagB]", "[order-1 common]"))
        self.assertEqual((labels["Reconsume Times"], labels["System Flag"], labels["Message Body"]), ("0", "0", "body one"))
        self.assertEqual(labels["Store Host"], self.address)
        self.assertRegex(labels["Store Timestamp"], "^%s$" % TIME)
        self.assertIn("UNIQ_KEY=" + first, labels["Properties"])
        self.assertEqual(labels["Message Body Path"], "%s/rocketmq/msgbodys/%s" % (self.folder, offset_id))
        with open(labels["Message Body Path"], "rb") as body:
            self.assertEqual(body.read(), b"body one")
        # Several ids; the second one is beyond the log.
        done = self.run_tool("queryMsgById", "-n", self.namesrv, "-i", offset_id + "," + offset_id[:16] + "0000000100000000")
        self.assertEqual(done.returncode, 1)
        self.assertIn("OffsetID:            " + offset_id, done.stdout)
        self.assertIn(self.address, done.stderr)

    def test_query_by_id_follows_no_link_when_it_writes_the_body(self):
        topic = self.topic("Link", 1)
        self.send(topic, "secret")
        [line] = [x for x in self.tool("consumeMessage", "-t", topic) if "BODY" in x]
        offset_id = re.search(r"msgId=(%s)," % OFFSET_ID, line).group(1)
        os.makedirs(self.folder + "/rocketmq/msgbodys", exist_ok=True)
        with open(self.folder + "/precious", "w") as precious:
            precious.write("precious")
        os.symlink(self.folder + "/precious", "%s/rocketmq/msgbodys/%s" % (self.folder, offset_id))
        lines = self.tool("queryMsgById", "-i", offset_id)
        self.assertRegex("\n".join(lines), r"Message Body Path: +not written: .*%s" % offset_id)
        with open(self.folder + "/precious") as precious:
            self.assertEqual(precious.read(), "precious")

    # --- consumers ---

    def test_consumer_progress_offline_and_online(self):
        topic, group = self.topic("Progress", 2), "progress-group"
        c = self.broker.connect()
        self.assertEqual(c.call(HEARTBEAT, body=heartbeat("consumer-1", group, topic)).code, 0)
        for body in "abc":
            self.send(topic, body, "-b", "broker-a", "-i", "1")
        self.assertEqual(c.call(UPDATE_OFFSET, {"consumerGroup": group, "topic": topic, "queueId": 1, "commitOffset": 2}).code, 0)

        def summary():
            lines = self.tool("consumerProgress")
            self.assertEqual(lines[0].split(), ["#Group", "#Count", "#Version", "#Type", "#Model", "#TPS", "#Diff", "Total"])
            return [line.split() for line in lines if line.startswith(group)][0]
        eventually(lambda: "%RETRY%" + group in self.tool("topicList"))
        self.assertEqual(summary(), [group, "1", "409", "PUSH", "CLUSTERING", "0", "1"])
        lines = self.tool("consumerProgress", "-g", group)
        self.assertEqual(re.findall(r"#[A-Z][^#]*", lines[0])[-1].strip(), "#LastTime")
        self.assertEqual([h.strip() for h in re.findall(r"#[A-Z][^#]*", lines[0])],
                         ["#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight", "#LastTime"])
        rows = [line.split() for line in lines[1:] if line.startswith(topic)]
        self.assertEqual(rows[0], [topic, "broker-a", "0", "0", "0", "0", "0", "N/A"])
        self.assertEqual(rows[1][:7], [topic, "broker-a", "1", "3", "2", "1", "0"])
        self.assertEqual(rows[1][7], time.strftime("%Y-%m-%d"))
        self.assertEqual([x for x in lines if x.startswith("Consume Diff Total")], ["Consume Diff Total: 1"])
        self.assertEqual(lines, self.tool("consumerProgress", "-g", group, "-t", topic))
        c.close()
        eventually(lambda: summary() == [group, "0", "OFFLINE", "0", "1"])
        self.assertEqual(len(self.tool("consumerProgress", "-g", group)), len(lines))
        self.assertIn("no-such-group", self.fails("consumerProgress", "-g", "no-such-group"))


class UnderDocuments(unittest.TestCase):
    """Who may send, by the registry's topic document."""

    def test_send_as_an_app_of_the_topic_document(self):
        folder = tempfile.mkdtemp(prefix="cjmq-mqadmin-")
        self.addCleanup(shutil.rmtree, folder)
        registry = Registry(folder).start()
        self.addCleanup(registry.stop)
        namesrv = "127.0.0.1:%d" % registry.port
        broker = Broker(folder=folder + "/broker", namesrvAddr=namesrv).start()
        self.addCleanup(broker.stop)
        console = Console(registry.telnet_port)
        self.addCleanup(console.close)
        self.assertEqual(console.result('topic set [{"topic":"orders","groups":["broker-a"],"queues":3,"producers":{"shop":{}}},'
                                        '{"topic":"theirs","groups":["other"]}]')["status"], 0)

        def tool(*arguments):
            return subprocess.run([MQADMIN, *arguments, "-n", namesrv], capture_output=True, text=True, timeout=60)
        eventually(lambda: tool("topicStatus", "-t", "orders").returncode == 0)
        for app in ("shop", "shop.web7"):
            done = tool("sendMessage", "-t", "orders", "-p", "x", "-g", app)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        for arguments, app in ((["-g", "thief"], "thief"), ([], "TOOLS_PRODUCER")):
            done = tool("sendMessage", "-t", "orders", "-p", "x", *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            # Refused at each of its three attempts, and still one sentence that says it all.
            self.assertRegex(done.stderr, r"\Amqadmin sendMessage: .*attempt 3: 127\.0\.0\.1:%d answered 16 NO_PERMISSION: .*"
                             r"producer app %s is not registered to topic orders.*\n\Z" % (broker.port, app))
        done = tool("sendMessage", "-t", "theirs", "-p", "x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not assigned to topic theirs", done.stderr)
        done = tool("updateTopic", "-c", "DefaultCluster", "-t", "theirs")
        self.assertEqual(done.returncode, 1)
        self.assertIn("gives it to other groups", done.stderr)
        done = tool("deleteTopic", "-c", "DefaultCluster", "-t", "orders")
        self.assertEqual(done.returncode, 1)
        self.assertIn("take it out there", done.stderr)
        done = tool("updateTopic", "-c", "DefaultCluster", "-t", "orders", "-r", "2", "-w", "2")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "topic orders is in the topic document.*'topic set' on a console")
        done = tool("updateTopic", "-c", "DefaultCluster", "-t", "orders", "-r", "3", "-w", "3")
        self.assertEqual((done.returncode, done.stderr), (0, ""))  # it is so
        self.assertRegex(tool("topicRoute", "-t", "orders", "-l").stdout, r"broker-a +\{0=\S+\} +3 +3 +6")
        self.assertEqual(len(re.findall("^broker-a ", tool("topicStatus", "-t", "orders").stdout, re.MULTILINE)), 3)


class FailingBroker(unittest.TestCase):
    """A broker that hangs, then one that is gone, while the registry still lists it."""

    def test_hanging_and_dead_broker_are_named(self):
        folder = tempfile.mkdtemp(prefix="cjmq-mqadmin-")
        self.addCleanup(shutil.rmtree, folder)
        registry = Registry(folder).start()
        self.addCleanup(registry.stop)
        namesrv = "127.0.0.1:%d" % registry.port
        with socket.create_server(("127.0.0.1", 0)) as silent:
            from registry_test import Remoting, register
            address = "127.0.0.1:%d" % silent.getsockname()[1]
            client = Remoting(registry.port)
            self.addCleanup(client.close)
            self.assertEqual(register(client, address, "mute", 0, ["T"])[0]["code"], 0)

            def tool(*arguments):
                return subprocess.run([MQADMIN, *arguments, "-n", namesrv], capture_output=True, text=True, timeout=60)
            done = tool("topicStatus", "-t", "T")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(address, done.stderr)
        done = tool("topicStatus", "-t", "T")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(address, done.stderr)
        # The list still has a row for it; the reason is beside it.
        done = tool("clusterList")
        self.assertEqual(done.returncode, 0)
        self.assertIn(address, done.stderr)
        self.assertEqual(done.stdout.splitlines()[1].split()[:4], ["DefaultCluster", "mute", "0", address])


if __name__ == "__main__":
    unittest.main()
