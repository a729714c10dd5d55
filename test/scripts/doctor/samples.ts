import type { ExaminedNode } from '../../../scripts/doctor/examination.js';
import type { NodeFacts, PeerPath, PeerReport } from '../../../shared/api/doctor.js';
import { nodeFacts } from '../../support/api-samples.js';

/** What was heard of nodes, as it looks where all is well. */

export const PATH: PeerPath = {
  localAddress: '10.0.0.1',
  interface: 'eth0',
  interfaceMtu: 1500,
  interfaceSpeed: null,
  pathMtu: 1500,
  roundTripMs: 0.3,
  largePackets: 'pass',
};

export function peer(node: string, changes: Partial<PeerReport> = {}): PeerReport {
  const url = `https://${node}:7800`;
  return { node, url, error: null, protocol: 1, path: PATH, certificateExpiresAt: null, ...changes };
}

/** `peers`: those that it is well connected to, by name, or what it found of them. */
export function examined(
  node: string,
  peers: readonly (string | PeerReport)[] | null,
  changes: Partial<ExaminedNode> = {},
  facts: Partial<NodeFacts> = {},
): ExaminedNode {
  return {
    ...{ node, url: `https://${node}:7800`, error: null, errorOfPeer: null, unsaid: [] },
    clock: { aheadMs: 0, boundMs: 1 },
    report: { node, ok: true, findings: [], facts: { ...nodeFacts, ...facts } },
    peers: peers?.map((each) => (typeof each === 'string' ? peer(each) : each)) ?? null,
    ...changes,
  };
}

/** A node that nobody can reach. */
export function gone(node: string): ExaminedNode {
  const error = { code: 'peer-unreachable', message: 'the connection is refused', retryable: true } as const;
  return examined(node, null, { error, errorOfPeer: error, clock: null, report: null });
}

export const summary = (findings: readonly { level: string; code: string }[]) =>
  findings.map(({ level, code }) => `${level} ${code}`);
