import type { z } from 'zod';
import type { ClusterNode } from '../../shared/api.js';
import { DoctorReportSchema, PeerReportsSchema } from '../../shared/api/doctor.js';
import { type ErrorBody, MigrationError, toMigrationError } from '../../shared/errors.js';
import { unixNow } from '../../shared/unix-clock.js';
import { validate } from '../../shared/validate.js';
import type { AgentClient } from '../../client/agent-client.js';
import type { ClockOffset, ExaminedNode, Examination } from './examination.js';

/** Nodes that are asked at once. */
const AT_ONCE = 8;

/** An agent that takes longer counts as one that does not answer: it tries QEMU, and its peers, some of which may be away. ms */
const ANSWER_MS = 20_000;
const SHORT_ANSWER_MS = 5000;

/** Times that a clock is read; the quickest answer counts. */
const CLOCK_READINGS = 4;

/** A time is told in whole ms, and so is half a ms off on average. */
const HALF_TICK_MS = 0.5;

/** A node, and the client that asks its agent. */
export interface AskedNode extends ExaminedNode {
  readonly client: AgentClient;
}

/**
 * Asks the agents of all nodes that the client's knows, or of those `chosen`, each for itself and with the same credentials. Throws what
 * the first one can't be asked for; all others have what failed among what was heard of them.
 */
export async function examineCluster(
  client: AgentClient,
  chosen: readonly string[] = [],
): Promise<Omit<Examination, 'links'> & { readonly nodes: readonly AskedNode[] }> {
  const { node: asked, nodes } = await client.cluster(true);
  const known = nodes.map(({ node }) => node);
  const unknown = chosen.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const text = `node ${unknown} is not known to node ${asked}: add it to 'peers' there (known: ${known.join(', ')})`;
    throw new MigrationError('unknown-node', text);
  }
  const waiting = nodes.filter(({ node }) => chosen.length === 0 || chosen.includes(node));
  const found: AskedNode[] = [];
  const ask = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      // Its own address may be one that this host can't use, and the one that was given can be.
      const of = next.node === asked ? client : client.other(next.url);
      found.push({ ...(await examineNode(of, next)), client: of });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return { asked, known, nodes: found.sort((a, b) => (a.node < b.node ? -1 : 1)) };
}

async function examineNode(client: AgentClient, { node, url, error }: ClusterNode): Promise<ExaminedNode> {
  const heard = { node, url: client.url, errorOfPeer: error };
  const nothing = { ...heard, clock: null, report: null, peers: null, unsaid: [] };
  let clock: ClockOffset | null;
  try {
    const { node: answering } = await client.node(AbortSignal.timeout(SHORT_ANSWER_MS));
    if (answering !== node) {
      throw new MigrationError(
        'wrong-node',
        `node ${answering} answers at ${url}, where node ${node} was meant`,
      );
    }
    clock = await readClock(async () => (await client.node(AbortSignal.timeout(SHORT_ANSWER_MS))).at);
  } catch (thrown) {
    return { ...nothing, error: toMigrationError(thrown, 'peer-failed').toJSON() };
  }
  const unsaid: ErrorBody[] = [];
  const part = async <Schema extends z.ZodType>(
    schema: Schema,
    what: string,
    answer: Promise<unknown>,
  ): Promise<z.output<Schema> | null> => {
    try {
      return validate(schema, await answer, 'peer-failed', what);
    } catch (thrown) {
      unsaid.push(toMigrationError(thrown, 'peer-failed').toJSON());
      return null;
    }
  };
  const signal = AbortSignal.timeout(ANSWER_MS);
  const [report, peers] = await Promise.all([
    part(DoctorReportSchema, `what node ${node} says of itself`, client.doctor(signal)),
    part(PeerReportsSchema, `what node ${node} says of its peers`, client.doctorPeers(signal)),
  ]);
  return { ...heard, error: null, clock, report, peers: peers?.peers ?? null, unsaid };
}

/** The clock behind `read` beside this host's: it was read between question and answer, half the time of which is the bound. */
export async function readClock(
  read: () => Promise<string>,
  now: () => number = unixNow,
): Promise<ClockOffset | null> {
  let best: ClockOffset | null = null;
  for (let reading = 0; reading < CLOCK_READINGS; reading += 1) {
    const askedAt = now();
    const at = Date.parse(await read());
    const half = (now() - askedAt) / 2;
    if (Number.isNaN(at)) return null;
    const boundMs = half + HALF_TICK_MS;
    if (!best || boundMs < best.boundMs) best = { aheadMs: at + HALF_TICK_MS - (askedAt + half), boundMs };
  }
  return best;
}
