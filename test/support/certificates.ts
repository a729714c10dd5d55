import { readFileSync } from 'node:fs';
import { certificateFiles } from '../../scripts/lab/lab-certificates.js';
import type { Credentials } from '../../shared/tls/credentials.js';

/** The certificate, the key and the CA of a node or an operator, as texts. */
export function credentialsOf(directory: string, name: string): Credentials {
  const { certificate, key, ca } = certificateFiles(directory, name);
  const read = (file: string) => readFileSync(file, 'utf8');
  return { certificate: read(certificate), key: read(key), ca: read(ca) };
}
