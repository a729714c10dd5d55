import { MigrationError } from '../../shared/errors.js';
import type { SourceControl } from '../link/link.js';
import { isLockAnswer, type LockAnswer, type LockCommand } from './lock-messages.js';

/** Receives what a node lock says to the coordinator of one migration. */
export interface NodeLockListener {
  answer(message: LockAnswer): void;
  /**
   * The lock cannot be reached any more or has thrown this migration out; called once, and nothing follows.
   * link-lost: the connection is gone, and with a new one the place in the queue may still be there.
   */
  ended(error: MigrationError): void;
}

/** One node's lock as one migration sees it: the agent's own, or that of the peer over a control connection. */
export interface NodeLockPort {
  readonly node: string;
  /** Sets the one listener. Answers may come while `send` runs. */
  listen(listener: NodeLockListener): void;
  send(command: LockCommand): void;
  /** No more answers are wanted; `ended` still tells that the lock is gone. The queue entry is left as it is. */
  mute(): void;
}

/** The peer's node lock over the control connection of the migration, which must be past its hello. */
export function remoteNodeLock(node: string, control: SourceControl): NodeLockPort {
  let listener: NodeLockListener | undefined;
  let removeReceiver: (() => void) | undefined;
  let ended = false;
  const end = (error: MigrationError): void => {
    if (ended) return;
    ended = true;
    removeReceiver?.();
    listener?.ended(error);
  };
  return {
    node,
    listen(wanted) {
      listener = wanted;
      removeReceiver = control.onMessage((message) => {
        if (isLockAnswer(message)) {
          wanted.answer(message);
        } else if (message.type === 'error') {
          end(new MigrationError(message.code, `node ${node} refused: ${message.message}`));
        } else {
          end(
            new MigrationError(
              'unexpected-message',
              `node ${node} sent ${message.type} to a migration that waits for its lock`,
            ),
          );
        }
      });
      control.onClose(({ code, reason }) => {
        const why = reason === '' ? `close code ${code}` : `${reason}, close code ${code}`;
        end(new MigrationError('link-lost', `the control connection to node ${node} closed (${why})`));
      });
    },
    send(command) {
      control.send(command).catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        end(
          new MigrationError('link-lost', `lock message to node ${node} was not sent: ${reason}`, {
            cause: error,
          }),
        );
      });
    },
    mute() {
      removeReceiver?.();
    },
  };
}
