import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { certificateFiles } from '../../scripts/lab/lab-certificates.js';
import type { Credentials } from '../../shared/tls/credentials.js';

/** The certificate, the key and the CA of a node or an operator, as texts. */
export function credentialsOf(directory: string, name: string): Credentials {
  const { certificate, key, ca } = certificateFiles(directory, name);
  const read = (file: string) => readFileSync(file, 'utf8');
  return { certificate: read(certificate), key: read(key), ca: read(ca) };
}

/**
 * Makes the certificate of a node that is valid in a time to come only, of the CA and with the key of that node in `pki`, as a
 * folder like that.
 */
export async function makeFutureCertificate(pki: string, node: string, directory: string): Promise<void> {
  const openssl = async (...args: string[]) => await promisify(execFile)('openssl', args, { cwd: directory });
  await mkdir(directory);
  await writeFile(
    join(directory, 'ca.cnf'),
    [
      ...[
        '[ca]',
        'default_ca = test',
        '[test]',
        'database = index',
        'new_certs_dir = .',
        'rand_serial = yes',
      ],
      ...['default_md = sha256', 'policy = any', 'x509_extensions = node', '[any]', 'commonName = supplied'],
      ...['[node]', 'extendedKeyUsage = serverAuth,clientAuth', `subjectAltName = URI:vmferry:node:${node}`],
    ].join('\n'),
  );
  await writeFile(join(directory, 'index'), '');
  const { ca, key } = certificateFiles(pki, node);
  await openssl('req', '-new', '-key', key, '-subj', `/CN=node ${node}`, '-out', 'request.pem');
  const validity = ['-startdate', '20960101000000Z', '-enddate', '20990101000000Z'];
  const authority = ['-config', 'ca.cnf', '-cert', ca, '-keyfile', join(pki, 'ca-key.pem')];
  await openssl(
    'ca',
    '-batch',
    '-notext',
    ...authority,
    ...validity,
    '-in',
    'request.pem',
    '-out',
    `${node}.pem`,
  );
}
