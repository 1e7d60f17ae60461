// Random values in place of secrets, while a topology is tried out with images that stand in for its own. Never used when
// a real provider is configured.

import { randomBytes } from "node:crypto";

import type { SecretAnswer, SecretProvider } from "../apply/secret-delivery.ts";
import { Secret } from "../../shared/secret.ts";

/** A provider that knows every path and makes a new value each time. */
export const standInSecrets: SecretProvider = {
  read: async (paths) =>
    new Map<string, SecretAnswer>(
      paths.map((path) => [path, { kind: "value", value: new Secret(randomBytes(18).toString("base64url")) }]),
    ),
};
