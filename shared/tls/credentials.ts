import { createPrivateKey, X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';
import { type FieldPath, MigrationError } from '../errors.js';
import { nodeOfNames } from './certificate-names.js';

/** Where the three files of a party are, in PEM. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
}

/** What a party shows and what it accepts: PEM texts, which can be passed to threads. Holds the key: never to be logged. */
export interface Credentials {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** A file that others than its owner can read or write. */
const OPEN_TO_OTHERS = 0o077;

/** Longest file of any kind that is read. bytes */
const MAX_FILE_BYTES = 1024 * 1024;

/** A file by the name under which the operator gave it, like "the key (tls.key)". */
interface NamedFile {
  readonly what: string;
  readonly path: string;
  /** The field of the configuration that names it, where one does. */
  readonly field?: FieldPath | undefined;
}

/** For TLS, both directions. */
export function secureContext({ certificate, key, ca }: Credentials): SecureContextOptions {
  return { cert: certificate, key, ca, minVersion: 'TLSv1.3' };
}

/**
 * Reads and checks the files. `options` names them in errors ("'tls.key'", "--key"). Throws invalid-request: which file, why it can't
 * be used, what to do.
 */
export function readCredentials(
  files: TlsFiles,
  options: Record<keyof TlsFiles, string>,
  now: Date = new Date(),
): Credentials & { readonly leaf: X509Certificate; readonly authorities: readonly X509Certificate[] } {
  const named = (kind: keyof TlsFiles, what: string) => ({
    what: `the ${what} ${files[kind]} (${options[kind]})`,
    path: files[kind],
    field: ['tls', kind],
  });
  const theCa = named('ca', 'CA certificate');
  const theCertificate = named('certificate', 'certificate');
  const theKey = named('key', 'key');
  const ca = readNamed(theCa);
  const certificate = readNamed(theCertificate);
  const authorities = certificatesIn(ca, theCa);
  const chain = certificatesIn(certificate, theCertificate);
  for (const authority of authorities) checkDates(authority, theCa, now);
  for (const each of chain) checkDates(each, theCertificate, now);
  const [leaf] = chain as [X509Certificate, ...X509Certificate[]];
  const key = readSecret(theKey);
  checkKey(key, theKey, leaf, theCertificate);
  if (!isIssued(leaf, [...chain.slice(1), ...authorities], authorities)) {
    throw unusable(
      theCertificate,
      `it was not issued by ${theCa.what}`,
      'take those that were made together, as ./scripts/make-certificates does',
    );
  }
  return { ca, certificate, key, leaf, authorities };
}

/** Throws invalid-request unless the certificate is that of `node`. */
export function checkNodeCertificate(leaf: X509Certificate, node: string, path: string): void {
  const found = nodeOfNames(leaf.subjectAltName);
  if (found === node) return;
  const reason = found === null ? 'names no node' : `is that of node ${found}`;
  throw new MigrationError(
    'invalid-request',
    `the certificate ${path} ('tls.certificate') ${reason}, and this is node ${node}: ` +
      `give one with the name URI:vmferry:node:${node}, as ./scripts/make-certificates makes`,
    { field: ['tls', 'certificate'] },
  );
}

/** A file that only its owner may read, as a key or a token. Throws invalid-request. */
export function readSecret(file: NamedFile): string {
  return readNamed(file, OPEN_TO_OTHERS, 'others than its owner can read it');
}

/** `forbidden`: bits that its mode must not have, for the reason `open`. Throws invalid-request. */
export function readNamed(file: NamedFile, forbidden = 0, open = ''): string {
  let descriptor: number | undefined;
  try {
    // A pipe would be waited for.
    descriptor = openSync(file.path, constants.O_RDONLY | constants.O_NONBLOCK);
    // Of the opened file: its name can lead elsewhere a moment later.
    const facts = fstatSync(descriptor);
    if (!facts.isFile()) throw unusable(file, 'it is no regular file', 'name a file');
    if ((facts.mode & forbidden) !== 0) {
      const mode = (facts.mode & 0o777).toString(8).padStart(4, '0');
      const remedy = `chmod ${forbidden === OPEN_TO_OTHERS ? '600' : 'go-w'} ${file.path}`;
      throw unusable(file, `${open} (mode ${mode})`, remedy);
    }
    if (facts.size > MAX_FILE_BYTES) throw unusable(file, 'it is larger than 1 MiB', 'name another one');
    return readFileSync(descriptor, 'utf8');
  } catch (error) {
    if (error instanceof MigrationError) throw error;
    throw unusable(file, (error as Error).message, 'correct the path, or who may read it', error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function certificatesIn(pem: string, file: NamedFile): X509Certificate[] {
  const found = pem.match(PEM_CERTIFICATE) ?? [];
  try {
    if (found.length > 0) return found.map((each) => new X509Certificate(each));
  } catch (error) {
    throw unusable(file, 'a certificate in it can not be decoded', 'make it anew', error);
  }
  throw unusable(file, 'it has no certificate in PEM', 'name a file that begins with BEGIN CERTIFICATE');
}

function checkDates(certificate: X509Certificate, file: NamedFile, now: Date): void {
  if (new Date(certificate.validTo) < now) {
    throw unusable(file, `it expired on ${certificate.validTo}`, 'renew it');
  }
  if (new Date(certificate.validFrom) > now) {
    const remedy = "set this host's clock, or wait";
    throw unusable(file, `it is not valid before ${certificate.validFrom}`, remedy);
  }
}

function checkKey(pem: string, file: NamedFile, leaf: X509Certificate, certificate: NamedFile): void {
  let matches: boolean;
  try {
    matches = leaf.checkPrivateKey(createPrivateKey(pem));
  } catch {
    // The library's error is not passed on: it has seen the key.
    const remedy = "give one in PEM without a passphrase ('openssl pkey -in KEY' writes it)";
    throw unusable(file, 'it has no private key that can be read', remedy);
  }
  if (!matches) {
    throw unusable(file, `it does not belong to ${certificate.what}`, 'give the key of that certificate');
  }
}

function isIssued(
  leaf: X509Certificate,
  issuers: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): boolean {
  const issuer = issuers.find((each) => leaf.checkIssued(each) && leaf.verify(each.publicKey));
  if (issuer === undefined) return false;
  if (authorities.includes(issuer)) return true;
  return isIssued(
    issuer,
    issuers.filter((each) => each !== issuer),
    authorities,
  );
}

function unusable(
  { what, field }: NamedFile,
  reason: string,
  remedy: string,
  cause?: unknown,
): MigrationError {
  const text = `${what} can't be used: ${reason}; ${remedy}`;
  return new MigrationError('invalid-request', text, { cause, field });
}
