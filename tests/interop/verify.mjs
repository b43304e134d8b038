// Verify a bundle with the public key, as a user of @sigstore/verify does.
// usage: node verify.mjs BUNDLE PUBLIC_KEY_PEM; prints the payload, or fails.
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { bundleFromJSON } from "@sigstore/bundle";
import { toSignedEntity, Verifier } from "@sigstore/verify";

const [bundlePath, keyPath] = process.argv.slice(2);
const bundle = bundleFromJSON(JSON.parse(readFileSync(bundlePath, "utf8")));
const key = createPublicKey(readFileSync(keyPath));
const trust = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: () => ({ publicKey: key, validFor: () => true }),
};
const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
try {
  new Verifier(trust, thresholds).verify(toSignedEntity(bundle));
} catch (error) {
  console.error(`${error.code}: ${error.message}`);
  process.exit(1);
}
process.stdout.write(bundle.content.dsseEnvelope.payload);
