import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { certificateFiles, makeCertificates } from '../../../scripts/lab/lab-certificates.js';
import { nodeOfNames } from '../../../shared/tls/certificate-names.js';
import { checkNodeCertificate, readCredentials, type TlsFiles } from '../../../shared/tls/credentials.js';

const directory = await mkdtemp(join(tmpdir(), 'vmferry-credentials-'));
t.teardown(() => rm(directory, { recursive: true, force: true }));
const pki = join(directory, 'pki');
const foreign = join(directory, 'foreign');
await makeCertificates(pki, '--node', 'a', '--node', 'b', '--operator', 'op');
await makeCertificates(foreign, '--node', 'a');
const files = certificateFiles(pki, 'a');
const OPTIONS = { certificate: "'tls.certificate'", key: "'tls.key'", ca: "'tls.ca'" };
const read = (more: Partial<TlsFiles> = {}, now?: Date) =>
  readCredentials({ ...files, ...more }, OPTIONS, now);

void t.test('files that belong together', async (t) => {
  const { leaf, key } = read();
  t.equal(key, await readFile(files.key, 'utf8'));
  checkNodeCertificate(leaf, 'a', files.certificate);
  t.throws(() => checkNodeCertificate(leaf, 'b', files.certificate), {
    code: 'invalid-request',
    message:
      /\('tls.certificate'\) is that of node a, and this is node b: give one with the name URI:vmferry:node:b/,
  });
  const operator = readCredentials(certificateFiles(pki, 'op'), OPTIONS);
  t.throws(() => checkNodeCertificate(operator.leaf, 'a', 'x'), { message: /names no node/ });
});

void t.test('files that can not be used, with the reason and the remedy', async (t) => {
  const refused = (more: Partial<TlsFiles>, message: RegExp) =>
    t.throws(() => read(more), { code: 'invalid-request', message });
  refused({ key: '/nowhere' }, /the key \/nowhere \('tls.key'\) can't be used: ENOENT.*correct the path/);
  refused({ certificate: '/tmp' }, /the certificate \/tmp \('tls.certificate'\).*no regular file/);
  refused({ key: certificateFiles(pki, 'b').key }, /the key .*does not belong to the certificate .*a\.pem/);
  const notAKey = join(directory, 'not-a-key.pem');
  await writeFile(notAKey, 'no key', { mode: 0o600 });
  refused({ key: notAKey }, /has no private key that can be read; give one in PEM without a passphrase/);
  refused({ certificate: files.key }, /has no certificate in PEM/);
  refused({ ca: certificateFiles(foreign, 'a').ca }, /was not issued by the CA certificate .*foreign/);
  const open = join(directory, 'open-key.pem');
  await writeFile(open, await readFile(files.key));
  for (const mode of [0o640, 0o604]) {
    await chmod(open, mode);
    refused({ key: open }, /others than its owner can read it \(mode 06[04]{2}\); chmod 600 .*open-key/);
  }
  const garbled = join(directory, 'garbled.pem');
  await writeFile(garbled, (await readFile(files.certificate, 'utf8')).replace(/\n..../, '\nAAAA'));
  refused({ certificate: garbled }, /can not be decoded/);
});

void t.test('before and after its time', (t) => {
  const year = 365 * 86_400_000;
  t.throws(() => read({}, new Date(Date.now() + 5 * year)), {
    message: /the certificate .* expired on .*; renew it/,
  });
  t.throws(() => read({}, new Date(Date.now() - year)), { message: /is not valid before .*clock/ });
  t.end();
});

void t.test('the node of a certificate', (t) => {
  t.equal(nodeOfNames('DNS:host, URI:vmferry:node:a_B.c-1, IP Address:10.0.0.1'), 'a_B.c-1');
  for (const names of [
    undefined,
    'DNS:vmferry:node:a',
    'URI:vmferry:operator:a',
    'URI:vmferry:node:a, URI:vmferry:node:b',
    'URI:vmferry:node:',
    'URI:vmferry:node:a/b',
    'URI:VMFERRY:node:a',
    'URI:"x, URI:vmferry:node:a, y"',
  ]) {
    t.equal(nodeOfNames(names), null, String(names));
  }
  t.end();
});
