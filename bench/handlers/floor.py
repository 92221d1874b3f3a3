"""The least that a Lambda can be."""


def lambda_handler(_event: object, _context: object) -> dict[str, object]:
    return {"statusCode": 200, "headers": {}, "body": "{}"}
