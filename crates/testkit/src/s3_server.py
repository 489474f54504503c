"""A server that speaks S3 (moto), for the tests of the coordinator's storage.

argv: how many requests are answered without a look at their signature, and the name of a bucket. Prints the server's address and
keys; then answers lines on standard input: `list` with the keys of all objects, `drop KEY` removes one. Ends with its input.
"""

import json
import logging
import os
import sys

checked = sys.argv[1] == "checked"
# What is set up here comes before signatures are checked.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4" if checked else "inf"

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
bucket = sys.argv[2]
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
address = "http://%s:%d" % server.get_host_and_port()
given = {"endpoint_url": address, "region_name": "eu-central-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}
iam = boto3.client("iam", **given)
iam.create_user(UserName="ci")
rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="ci", PolicyName="all", PolicyDocument=json.dumps(rights))
key = iam.create_access_key(UserName="ci")["AccessKey"]
place = {"LocationConstraint": "eu-central-1"}
boto3.client("s3", **given).create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
given["aws_access_key_id"], given["aws_secret_access_key"] = key["AccessKeyId"], key["SecretAccessKey"]
s3 = boto3.client("s3", **given)
print(address, key["AccessKeyId"], key["SecretAccessKey"], flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "drop":
        s3.delete_object(Bucket=bucket, Key=words[1])
    found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    print(json.dumps([entry["Key"] for entry in found]), flush=True)
server.stop()
