import { MigrationError } from '../../shared/errors.js';
import type { TargetControl } from '../link/link.js';
import { isLockCommand } from './lock-messages.js';
import type { NodeLock, NodeLockSession } from './node-lock.js';

/** The lock as this connection has it: no other one, even with the same migration id, gets at it by this. */
export interface ServedNodeLock extends Pick<NodeLockSession, 'waits' | 'holds' | 'occupy'> {
  /** Takes the migration out of the queue if this connection speaks for it. Harmless when repeated. */
  release(): void;
  /** Stops listening, and leaves the entry and its lease as they are. */
  stop(): void;
}

/**
 * Serves this node's lock to the source agent of one migration over its control connection, once hello is done.
 * Messages that are not of the lock are not looked at. When the connection closes, the lease starts to run out.
 * `refused`: the source broke the rules, or its entry is gone; it is to be told, and the connection closed.
 */
export function serveNodeLock(options: {
  lock: NodeLock;
  control: TargetControl;
  migration: string;
  /** Node id of the source, as it proved it in hello. */
  from: string;
  refused: (error: MigrationError) => void;
}): ServedNodeLock {
  const { lock, control, refused } = options;
  const session = lock.remoteSession(options.migration, options.from);
  session.listen({
    // A message that could not be sent is followed by the end of the connection.
    answer: (message) => void control.send(message).catch(() => undefined),
    ended: refused,
  });
  const stop = control.onMessage((message) => {
    if (isLockCommand(message)) session.send(message);
  });
  control.onClose(() => session.detach());
  return {
    waits: () => session.waits(),
    holds: () => session.holds(),
    occupy: (released) => session.occupy(released),
    release: () => session.send({ type: 'lock-release' }),
    stop,
  };
}
