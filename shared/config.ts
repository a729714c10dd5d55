import { isAbsolute, join, relative, resolve } from 'node:path';
import type { z } from 'zod';
import { AgentFieldsSchema } from './config-fields.js';

type Fields = z.output<typeof AgentFieldsSchema>;
type Refuse = (path: string[], message: string) => void;

/** The configuration of an agent, as in its YAML file; what its fields say must not contradict each other. */
export const AgentConfigSchema = AgentFieldsSchema.superRefine((config, context) => {
  const refuse: Refuse = (path, message) => context.addIssue({ code: 'custom', path, message });
  refuseExposed(config, refuse);
  refusePeers(config, refuse);
  refuseDirectories(config, refuse);
});

export type AgentConfig = z.output<typeof AgentConfigSchema>;

/** Whether only this host's own programs can connect to it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** API and link in the reach of others: with TLS and tokens alone, or without both on purpose. */
function refuseExposed({ listen, tls, tokens, insecurePlaintext }: Fields, refuse: Refuse): void {
  const exposed = listen.tcp !== null && !isLoopback(listen.tcp.host);
  if (exposed && !tls && !insecurePlaintext) {
    refuse(
      ['listen'],
      `${listen.tcp?.host} can be reached from other hosts, and there is no 'tls': give it a certificate, key and ca ` +
        '(./scripts/make-certificates makes them), or listen on 127.0.0.1 or unix:/PATH',
    );
  }
  if (exposed && tls && tokens === undefined && listen.unix === null) {
    const remedy =
      "name a file of tokens as 'tokens' ('vmferry token create' makes them), or listen on unix:/PATH too";
    refuse(['listen'], `nobody could use this agent's API, which needs tokens there: ${remedy}`);
  }
  if (tls && insecurePlaintext) refuse(['insecurePlaintext'], "there is 'tls': remove one of both");
}

/** Each peer is another node, at an address of its own. */
function refusePeers({ node, listen, tls, peers }: Fields, refuse: Refuse): void {
  const addresses = new Map<string, string>();
  for (const [name, url] of Object.entries(peers)) {
    // One that is none is told of as such.
    if (!URL.canParse(url)) continue;
    const { origin, protocol, hostname, port } = new URL(url);
    const secure = protocol === 'https:';
    const other = addresses.get(origin);
    addresses.set(origin, name);
    if (name === node) {
      refuse(['peers', name], "that is this node itself ('node'): name the others alone, or correct 'node'");
    } else if (tls && !secure) {
      refuse(['peers', name], `${url} is without TLS, and this agent has 'tls': write https://`);
    } else if (!tls && secure) {
      refuse(['peers', name], `${url} is with TLS, and this agent has none: give it 'tls'`);
    } else if (other !== undefined) {
      refuse(['peers', name], `peer ${other} has that address already: give each its own`);
    } else if (listen.tcp?.host === hostname.replace(/^\[|\]$/g, '') && listen.tcp.port === Number(port)) {
      refuse(
        ['peers', name],
        "that is where this agent itself listens ('listen'): give the address of that node",
      );
    }
  }
}

/** What an agent keeps in its state directory; see there. */
const STATE = ['guests', 'journal', 'waiting'];

/** What must last is on a disk, and nothing is taken for what it is not. */
function refuseDirectories({ stateDirectory, runDirectory, qemu }: Fields, refuse: Refuse): void {
  if (resolve(stateDirectory) === '/') {
    refuse(['stateDirectory'], 'must be a directory of its own, as /var/lib/vmferry');
  }
  if (isWithin(stateDirectory, qemu.memoryDirectory)) {
    const lost =
      'what is there is memory, and gone with a restart of the host, VM definitions and whose they are with it';
    refuse(['stateDirectory'], `it is in 'qemu.memoryDirectory': ${lost}; name one on a disk`);
  }
  if (runDirectory !== undefined) {
    const remedy = 'name one of its own, as /run/vmferry, or none';
    if (isWithin(stateDirectory, runDirectory)) {
      refuse(
        ['runDirectory'],
        `'stateDirectory' is that or lies in it, and would be taken for a VM's: ${remedy}`,
      );
    }
    const kept = STATE.find((name) => isWithin(runDirectory, join(stateDirectory, name)));
    if (kept)
      refuse(['runDirectory'], `the agent keeps other things in ${join(stateDirectory, kept)}: ${remedy}`);
  }
}

/** Whether a path is that directory, or lies in it. */
function isWithin(path: string, directory: string): boolean {
  const way = relative(resolve(directory), resolve(path));
  return !isAbsolute(way) && way !== '..' && !way.startsWith('../');
}
