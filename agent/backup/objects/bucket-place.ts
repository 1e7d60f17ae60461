// How the bucket of a service is reached: at the address of its own container, with the keys of its secret. Pure.

import type { StorePlan } from "../../../shared/state/backup.ts";
import type { S3Place } from "../repository/s3-client.ts";

/** The keys of a secret, or why there are none. */
export function splitKeys(path: string, value: string): { accessKey: string; secretKey: string } | string {
  const [accessKey = "", secretKey = "", ...rest] = value.trim().split(/\s+/);
  if (secretKey === "" || rest.length > 0)
    return `the secret ${path} must be the access key and the secret key, with a space between`;
  return { accessKey, secretKey };
}

/** The place of a store's bucket; undefined for a store that is none, and a text where it cannot be reached. */
export function placeBucket(
  { service, store, source }: StorePlan,
  container: { address: string | undefined } | undefined,
  readSecret: (path: string) => { value: string } | { reason: string },
): S3Place | string | undefined {
  if (source.bucket === undefined) return undefined;
  const { port, scheme, bucket, prefix, region, secret } = source.bucket;
  const address = container?.address;
  if (address === undefined) return `the container of ${service} has no address: its bucket cannot be reached`;
  const read = readSecret(secret);
  if ("reason" in read) return `the secret ${secret}: ${read.reason}`;
  const keys = splitKeys(secret, read.value);
  if (typeof keys === "string") return keys;
  return {
    name: service,
    endpoint: `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`,
    bucket,
    region,
    prefix,
    ...keys,
    lockDays: undefined,
    caFile: undefined,
    words: { who: service, key: `backups.${store}.source` },
    anyCertificate: true,
  };
}
