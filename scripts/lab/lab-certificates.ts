import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import type { TlsFiles } from '../../shared/tls/credentials.js';
import type { AccessOptions } from '../../client/agent-connection.js';

// From where the compiled file is: the script is not compiled.
const MAKE = fileURLToPath(new URL('../../../scripts/make-certificates', import.meta.url));

/** Makes certificates as operators do, with ./scripts/make-certificates, of the CA in `directory`. */
export async function makeCertificates(directory: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(MAKE, [directory, ...args]);
}

/** The files of a node or an operator there. */
export function certificateFiles(directory: string, name: string): TlsFiles {
  return {
    certificate: `${directory}/${name}.pem`,
    key: `${directory}/${name}-key.pem`,
    ca: `${directory}/ca.pem`,
  };
}

/** What agents of a lab need for TLS, and who asks them. */
export interface LabTls {
  settings(node: string): { readonly tls: TlsFiles; readonly tokens: string };
  readonly access: AccessOptions;
}

/** Makes it under `directory`, which is there; `hostsOf`: addresses by which a node's agent is asked. */
export async function labTls(
  directory: string,
  nodes: readonly string[],
  hostsOf: (node: string) => readonly string[],
): Promise<LabTls> {
  const pki = `${directory}/pki`;
  const certified = nodes.flatMap((node) => ['--node', [node, ...hostsOf(node)].join(',')]);
  await makeCertificates(pki, ...certified, '--operator', 'lab');
  const { token, entry } = createToken('lab', 'operate');
  const tokens = `${directory}/tokens.yaml`;
  const tokenFile = `${directory}/lab.token`;
  await writeFile(tokens, tokenLine(entry));
  await writeFile(tokenFile, token, { mode: 0o600 });
  return {
    settings: (node) => ({ tls: certificateFiles(pki, node), tokens }),
    access: { ...certificateFiles(pki, 'lab'), tokenFile },
  };
}
