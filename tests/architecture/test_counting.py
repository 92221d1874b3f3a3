"""Audit records that the statistics function cannot count are kept in a queue that an alarm watches."""

from tests.support.template import resources

FUNCTION = resources("AWS::Serverless::Function")["StatsStream"]


def test_a_batch_that_fails_is_bisected_retried_and_then_sent_to_a_queue() -> None:
    (event,) = FUNCTION["Events"].values()
    source = event["Properties"]
    assert source["Stream"] == {"Fn::GetAtt": ["AuditTable", "StreamArn"]}
    assert source["StartingPosition"] == "TRIM_HORIZON"
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"] is True
    assert 0 < source["MaximumRetryAttempts"] < 100
    queue = {"Fn::GetAtt": ["StatisticsFailures", "Arn"]}
    assert source["DestinationConfig"]["OnFailure"] == {"Type": "SQS", "Destination": queue}


def test_the_queue_of_failures_has_an_alarm_and_the_longest_retention() -> None:
    queue = resources("AWS::SQS::Queue")["StatisticsFailures"]
    assert queue["MessageRetentionPeriod"] == 14 * 86_400
    alarm = resources("AWS::CloudWatch::Alarm")["StatisticsFailuresAlarm"]
    assert alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": ["StatisticsFailures", "QueueName"]}
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


def test_the_counting_function_reads_no_table_and_the_public_one_writes_none() -> None:
    (counting,) = FUNCTION["Policies"][0]["Statement"]
    (showing,) = resources("AWS::Serverless::Function")["Stats"]["Policies"][0]["Statement"]
    assert counting["Action"] == ["dynamodb:PutItem", "dynamodb:UpdateItem"]
    assert showing["Action"] == "dynamodb:Query"
    for statement in (counting, showing):
        assert statement["Resource"] == {"Fn::GetAtt": ["StatsTable", "Arn"]}
        ((_, keys),) = statement["Condition"].items()
        assert all(not key.startswith("ping") for key in keys["dynamodb:LeadingKeys"])
