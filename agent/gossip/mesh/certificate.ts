// The certificate in which TLS shows a node's key: self-signed, the same for ever, since only the key counts. Loaded by whoever
// makes one, which is a short-lived process: the library takes 22 MB.

// The library's own container asks for it before anything else.
import "reflect-metadata";

import { createPublicKey, type KeyObject, webcrypto } from "node:crypto";

import { cryptoProvider, X509CertificateGenerator } from "@peculiar/x509";

const ALGORITHM = { name: "Ed25519" };

/** Builds the certificate of an Ed25519 key, as PEM. */
export async function buildCertificate(privateKey: KeyObject): Promise<string> {
  cryptoProvider.set(webcrypto);
  const { subtle } = webcrypto;
  const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" });
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=orca",
    serialNumber: "01",
    // No clock is asked: a host whose clock is wrong can still speak to its peers.
    notBefore: new Date("2020-01-01T00:00:00Z"),
    notAfter: new Date("9999-12-31T23:59:59Z"),
    signingAlgorithm: ALGORITHM,
    keys: {
      privateKey: await subtle.importKey("pkcs8", pkcs8, ALGORITHM, true, ["sign"]),
      publicKey: await subtle.importKey("spki", spki, ALGORITHM, true, ["verify"]),
    },
  });
  return `${certificate.toString("pem")}\n`;
}
