import { AgentClient } from '../../client/agent-client.js';
import { ALLOW_ALL_FILES, startAgents } from '../lab/agent-process.js';
import { buildLinuxGuest } from '../lab/guests/linux/linux-guest.js';
import { labTls } from '../lab/lab-certificates.js';
import { LabNetwork } from '../lab/lab-network.js';
import { RunFolders } from '../lab/run-folders.js';
import type { LinkFacts } from './bench-report.js';

/** Both ends of the moves. */
export type Pair<Of> = readonly [Of, Of];

/** An agent and the node that it is of. */
export interface BenchNode {
  readonly node: string;
  readonly client: AgentClient;
}

/** Where programs of the benchmark itself run, at one end. */
export interface BenchHost {
  /** Its address on the link. */
  readonly address: string;
  /** The command that starts a program there, before the program. */
  readonly launcher: readonly string[];
}

/** Where a benchmark happens: two hosts, agents on them, a link between them. */
export interface TestBed {
  readonly kind: LinkFacts['kind'];
  readonly nodes: Pair<BenchNode>;
  /** For what runs beside the agents. */
  readonly local: LocalBed | null;
  /** Changes the rate of the link, in both directions. bytes/s; null: none, the only one there is where `kind` is not 'lab'. */
  setRate(bytesPerSecond: number | null): Promise<void>;
  /** Ends and removes all that the benchmark has made. Harmless when repeated; waits for nothing. */
  close(): void;
}

/** A bed on this machine. */
export interface LocalBed {
  readonly hosts: Pair<BenchHost>;
  readonly folders: RunFolders;
  /** Starts two more agents on the same hosts, with other settings; behind TLS with certificates of their own if `secure`. */
  startNodes(names: Pair<string>, settings: object, secure?: boolean): Promise<Pair<BenchNode>>;
  /** Builds the first file system of the Linux guest, once. */
  linuxGuest(): Promise<string>;
}

/** Memory that each agent may give to guests, those of all workloads together. */
const GUEST_MEMORY = '64GiB';

const NODES: Pair<string> = ['a', 'b'];

/** Two agents in network namespaces of their own (`lab`), or on loopback. */
export async function localBed(lab: boolean): Promise<TestBed> {
  const folders = new RunFolders('bench');
  let network: LabNetwork | null = null;
  const close = () => {
    // Both end what runs there: agents, and guests that outlive them.
    network?.remove();
    folders.removeNow();
  };
  try {
    network = lab ? await LabNetwork.create(NODES) : null;
    const placeOf = placesOf(network);
    const startNodes = async (names: Pair<string>, settings: object, secure = false) => {
      const hostsOf = (name: string) => {
        const { host, apiHost = host } = placeOf?.(names, name) ?? { host: '127.0.0.1' };
        return [apiHost];
      };
      const tls = secure ? await labTls(folders.files, names, hostsOf) : null;
      const qemu = { memoryDirectory: folders.memory, allow: ALLOW_ALL_FILES };
      const all = { guestMemory: GUEST_MEMORY, qemu, ...settings };
      const started = await startAgents(
        names,
        folders.files,
        tls ? (node: string) => ({ ...all, ...tls.settings(node) }) : all,
        placeOf && ((name) => placeOf(names, name)),
      );
      return pair(started.map(({ node, url }) => ({ node, client: new AgentClient(url, tls?.access) })));
    };
    let initrd: Promise<string> | undefined;
    const local: LocalBed = {
      hosts: pair(
        NODES.map((node) => ({
          address: network?.linkAddress(node) ?? '127.0.0.1',
          launcher: network?.launcher(node) ?? [],
        })),
      ),
      folders,
      startNodes,
      linuxGuest: () => (initrd ??= builtGuest(`${folders.files}/initrd`)),
    };
    return {
      kind: lab ? 'lab' : 'loopback',
      nodes: await startNodes(NODES, {}),
      local,
      setRate: (rate) => (network ? network.setRate(rate) : Promise.resolve()),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Two agents that somebody else runs; they are asked as `client` asks its own. */
export async function remoteBed(urls: Pair<string>, client: AgentClient): Promise<TestBed> {
  const nodes = await Promise.all(
    urls.map(async (url) => {
      const agent = client.other(url);
      return { node: (await agent.status()).node.node, client: agent };
    }),
  );
  return {
    kind: 'agents',
    nodes: pair(nodes),
    local: null,
    setRate: () => Promise.resolve(),
    close: () => undefined,
  };
}

/** Where each of a pair of agents runs: the first on the first host of the lab, the second on the second. */
function placesOf(network: LabNetwork | null) {
  if (!network) return undefined;
  return (names: Pair<string>, name: string) => network.placeOf(NODES[names.indexOf(name)]!);
}

async function builtGuest(file: string): Promise<string> {
  await buildLinuxGuest(file);
  return file;
}

export function pair<Of>(values: readonly Of[]): Pair<Of> {
  return [values[0]!, values[1]!];
}
