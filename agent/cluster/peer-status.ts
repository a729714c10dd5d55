import { Agent, request } from 'undici';
import { z } from 'zod';
import { MigrationInfoSchema, type QueueEntry, type StatusReport } from '../../shared/api.js';
import { errorFromBody, MigrationError } from '../../shared/errors.js';
import { NameSchema } from '../../shared/names.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import { validate } from '../../shared/validate.js';
import type { NodeAddress } from '../node-address.js';
import { dialFailure, peerTlsOptions } from '../link/peer-identity.js';

/** A node that takes longer to say how it is counts as one that does not answer. ms */
const ANSWER_MS = 3000;

/** Most of an answer that is read: a node of 1,024 VMs has less. bytes */
const MAX_ANSWER_BYTES = 16 * 2 ** 20;

const { id, vm, from, to, requestedAt, progress, copying, queue, result } = MigrationInfoSchema.shape;

/**
 * What is relied on of another node's words; what more there is passes. An agent of another version may have names that are
 * not known here: they are shown as they are, and a part that can't be read for them is left out.
 */
const StatusSchema = z.looseObject({
  node: z.looseObject({
    node: NameSchema,
    memoryUsedBytes: z.number(),
    memoryLimitBytes: z.number(),
    drained: z.boolean(),
  }),
  guests: z.array(
    z.looseObject({
      ...{ name: NameSchema, kind: z.string(), status: z.string(), memoryBytes: z.number() },
      migration: z.string().nullable().catch(null),
    }),
  ),
  migrations: z.array(
    z.looseObject({
      ...{ id, vm, from, to, requestedAt, role: z.string(), phase: z.string() },
      ...{ progress: progress.catch(null), copying: copying.catch(null) },
      ...{ queue: queue.catch(null), result: result.catch(null) },
    }),
  ),
});
const QueueSchema = z.array(
  z.looseObject({
    migration: z.string(),
    from: NameSchema,
    to: NameSchema,
    requestedAt: z.iso.datetime(),
    priority: z.number(),
    position: z.number(),
    state: z.enum(['running', 'waiting']),
    waitsFor: z.array(z.looseObject({ node: z.string(), holder: z.string().nullable() })),
    overtaken: z.number(),
  }),
);

/**
 * What another node's agent says of itself, over its API: with this node's certificate where there is TLS. Throws peer-unreachable,
 * peer-untrusted, wrong-node, peer-failed, or what the agent refuses with.
 */
export async function peerStatus(
  peer: NodeAddress,
  tls: Credentials | null,
  signal: AbortSignal,
): Promise<{ status: StatusReport; queue: QueueEntry[] }> {
  const dispatcher = new Agent({
    // undici's type leaves out that an option may be undefined, as node:tls has it.
    ...(tls && { connect: peerTlsOptions(tls, peer.node) as object }),
    maxResponseSize: MAX_ANSWER_BYTES,
  });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const get = async (path: string): Promise<unknown> => {
    const { statusCode, body } = await request(new URL(path, peer.url), { dispatcher, signal: limit });
    const answer = await body.json();
    if (statusCode === 200) return answer;
    const { code, message } = errorFromBody((answer as { error?: unknown } | null)?.error);
    throw new MigrationError(code, `node ${peer.node} says: ${message}`);
  };
  try {
    const [status, entries] = await Promise.all([get('/v1/status'), get('/v1/queue')]);
    const what = `what node ${peer.node} says`;
    const said = validate(StatusSchema, status, 'peer-failed', what) as unknown as StatusReport;
    const { node } = said.node;
    if (node !== peer.node) {
      throw new MigrationError(
        'wrong-node',
        `node ${node} answers at ${peer.url}, where node ${peer.node} was meant`,
      );
    }
    validate(QueueSchema, entries, 'peer-failed', what);
    return { status: said, queue: entries as QueueEntry[] };
  } catch (error) {
    if (limit.aborted && !signal.aborted) {
      const text = `node ${peer.node} at ${peer.url} did not answer within ${ANSWER_MS} ms`;
      throw new MigrationError('peer-unreachable', text, { cause: error });
    }
    throw dialFailure(error as Error, (reason, cause) => {
      const text = `node ${peer.node} at ${peer.url} can't be reached: ${reason}`;
      return new MigrationError('peer-unreachable', text, { cause });
    });
  } finally {
    await dispatcher.destroy();
  }
}
