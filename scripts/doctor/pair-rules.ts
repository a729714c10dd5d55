import type { PeerPath, PeerReport } from '../../shared/api/doctor.js';
import type { PreflightFinding } from '../../shared/protocol/messages.js';
import { formatDuration } from '../../shared/units.js';
import type { ExaminedNode } from './examination.js';

/** A switchover has several round trips in it: above this they take much of a downtime of 30 ms. */
export const ROUND_TRIP_NOTICE_MS = 5;

/** Shorter round trips are told as this one. ms */
const LEAST_TOLD_MS = 0.1;

/** The headers of IP and TCP without options. */
const HEADER_BYTES = 40;

/** The longest packet of IP: the MTU of the loopback interface is above it. */
const MAX_PACKET_BYTES = 65_535;

/** One direction of a pair: what `from` found of `to`. */
interface Way {
  readonly from: ExaminedNode;
  readonly to: ExaminedNode;
  /** Undefined: `from` was not heard; null: it does not have `to` among its peers. */
  readonly found: PeerReport | null | undefined;
}

/** Both directions of a pair. */
export function waysOf(a: ExaminedNode, b: ExaminedNode): readonly [Way, Way] {
  const way = (from: ExaminedNode, to: ExaminedNode): Way => ({
    ...{ from, to },
    found: from.peers === null ? undefined : (from.peers.find(({ node }) => node === to.node) ?? null),
  });
  return [way(a, b), way(b, a)];
}

/** Whether there is anything to say of a pair: nothing where a node can't be reached at all, which is told of the node. */
export function isPair(a: ExaminedNode, b: ExaminedNode): boolean {
  const gone = (node: ExaminedNode) => node.error !== null && node.errorOfPeer !== null;
  return waysOf(a, b).some(
    ({ to, found }) => found !== undefined && !(gone(to) && (found === null || found.error)),
  );
}

/** What is so between two nodes. */
export function pairFindings(a: ExaminedNode, b: ExaminedNode): PreflightFinding[] {
  const ways = waysOf(a, b);
  const paths = ways.map(({ found }) => found?.path ?? null);
  return [
    ...versionFindings(a, b),
    ...ways.flatMap(wayFindings),
    ...interfaceFindings(ways),
    ...(paths.some(Boolean) ? [] : unseen(ways)),
  ];
}

function versionFindings(a: ExaminedNode, b: ExaminedNode): PreflightFinding[] {
  const [ours, theirs] = [a.report?.facts.protocol, b.report?.facts.protocol];
  if (!ours || !theirs) return [];
  const highest = Math.min(ours.max, theirs.max);
  if (highest >= Math.max(ours.min, theirs.min)) {
    return [{ level: 'ok', code: 'protocol', message: `both speak protocol version ${highest}` }];
  }
  const older = ours.max < theirs.max ? a : b;
  return [
    {
      ...{ level: 'refusal', code: 'version-unsupported' },
      message: `nodes ${a.node} and ${b.node} share no protocol version (${ours.min} to ${ours.max}, ${theirs.min} to ${theirs.max}): no VM moves between them`,
      remedy: `update the agent of node ${older.node}`,
    },
  ];
}

function wayFindings({ from, to, found }: Way): PreflightFinding[] {
  if (found === undefined) return [];
  const way = `from ${from.node} to ${to.node}`;
  if (found === null) {
    return [
      {
        ...{ level: 'warning', code: 'peer-missing' },
        message: `node ${from.node} does not know node ${to.node}: no VM moves ${way}`,
        remedy: `add '${to.node}: ${to.url}' to 'peers' of node ${from.node}`,
      },
    ];
  }
  return [...failure(way, found), ...(found.path ? pathFindings(way, found.path) : [])];
}

function failure(way: string, { error }: PeerReport): PreflightFinding[] {
  // What both say of their versions is told once.
  if (!error || error.code === 'version-unsupported') return [];
  return [
    {
      ...{ level: 'refusal', code: error.code },
      message: `no VM moves ${way}: ${error.message}`,
      remedy: REMEDIES[error.code] ?? 'what the message names',
    },
  ];
}

const REMEDIES: Readonly<Record<string, string>> = {
  'peer-unreachable': "look at the network and the firewalls between the two, and at the address in 'peers'",
  'peer-untrusted': "give both certificates of one CA, and each the other among its 'peers'",
  'wrong-node': "correct the address in 'peers'",
  timeout: 'look at the network between the two, and at the load of their hosts',
};

function pathFindings(way: string, path: PeerPath): PreflightFinding[] {
  const { interfaceMtu, pathMtu, largePackets, roundTripMs } = path;
  const by = path.interface === null ? '' : ` by ${path.interface}`;
  const findings: PreflightFinding[] = [];
  if (largePackets === 'lost') {
    findings.push({
      ...{ level: 'refusal', code: 'large-packets-lost' },
      message: `${way}${by} small packets arrive and those of ${pathMtu ?? interfaceMtu ?? 'full'} bytes do not: something between the two carries less and does not say so`,
      remedy: `set the MTU of both interfaces to what the network carries ('ping -M do -s SIZE' finds it), or let 'fragmentation needed' of ICMP through`,
    });
  } else if (
    pathMtu !== null &&
    interfaceMtu !== null &&
    pathMtu < Math.min(interfaceMtu, MAX_PACKET_BYTES)
  ) {
    findings.push({
      ...{ level: 'warning', code: 'path-mtu' },
      message: `${way} packets of ${pathMtu} bytes get through, and ${path.interface} sends up to ${interfaceMtu}: ${pathMtu - HEADER_BYTES} bytes of each are pages`,
      remedy: 'raise the MTU of what lies between, or lower that of the interface to it',
    });
  }
  if (roundTripMs !== null && roundTripMs > ROUND_TRIP_NOTICE_MS) {
    findings.push({
      ...{ level: 'warning', code: 'round-trip' },
      message: `${way} and back takes ${formatDuration(roundTripMs)}: a switchover takes several of these`,
      remedy: 'put hosts that move VMs nearer to each other, or allow for it with --max-downtime',
    });
  }
  if (findings.length > 0) return findings;
  const words = [
    roundTripMs === null
      ? 'it answers'
      : `${formatDuration(Math.max(LEAST_TOLD_MS, roundTripMs))} there and back`,
    ...(pathMtu === null ? [] : [`packets of ${pathMtu} bytes`]),
  ];
  return [{ level: 'ok', code: 'path', message: `${way}${by}: ${words.join(', ')}` }];
}

/** Where one end sends larger packets than the other takes, TCP keeps to the smaller, and all else is dropped. */
function interfaceFindings(ways: readonly [Way, Way]): PreflightFinding[] {
  const [one, other] = ways.map(({ found }) => found?.path ?? null);
  if (!one?.interfaceMtu || !other?.interfaceMtu || one.interfaceMtu === other.interfaceMtu) return [];
  const [a, b] = ways.map(({ from }) => from.node);
  return [
    {
      ...{ level: 'warning', code: 'mtu-differs' },
      message: `${one.interface} of node ${a} has an MTU of ${one.interfaceMtu}, ${other.interface} of node ${b} of ${other.interfaceMtu}`,
      remedy: 'give both, and all between them, the same',
    },
  ];
}

function unseen(ways: readonly [Way, Way]): PreflightFinding[] {
  const heard = ways.some(({ found }) => found?.error);
  return heard || ways.every(({ found }) => found === null)
    ? []
    : [{ level: 'ok', code: 'not-checked', message: 'the way between the two was not looked at' }];
}
