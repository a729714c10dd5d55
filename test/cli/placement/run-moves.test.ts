import t from 'tap';
import { type MoveState, planned, runMoves } from '../../../scripts/cli/placement/run-moves.js';
import type { ClusterAccess } from '../../../scripts/cli/cluster-access.js';
import type { MigrationEvent } from '../../../shared/api.js';

/** An agent of which the migration of VM 'one' fails for its target, and those of others wait for good. */
function access(cancelled: string[]): ClusterAccess {
  const agent = {
    url: 'http://a',
    startMigration: ({ vm }: { vm: string }) => Promise.resolve({ id: vm }),
    migration: () => Promise.resolve({ phase: 'queued' }),
    cancelMigration: (id: string) => Promise.resolve(cancelled.push(id)),
    async *migrationEvents(id: string, _after: number, signal: AbortSignal) {
      const error = { code: 'link-lost', message: 'the link broke', retryable: true };
      const result = { id, outcome: 'failed', error, totalMs: 0, queuedMs: 0, downtimeMs: 0 };
      if (id === 'one') yield { event: 'ended', seq: 1, result } as unknown as MigrationEvent;
      else await new Promise((_resolve, reject) => signal.addEventListener('abort', reject));
    },
  };
  const at = (_node: string, action: (client: typeof agent) => unknown) => Promise.resolve(action(agent));
  return { at, agent: () => agent } as unknown as ClusterAccess;
}

void t.test('an end of the command while a failed move is planned anew cancels nothing', async (t) => {
  const leaving = new AbortController();
  const cancelled: string[] = [];
  const states = ['one', 'two'].map((vm) =>
    planned({ vm, from: 'a', to: 'b', memoryBytes: 4096, reason: 'most free', warnings: [] }),
  );
  const ended: MoveState[] = [];
  const nothing = () => undefined;
  const failed = await runMoves(states, {
    ...{ access: access(cancelled), request: { options: {} }, onFailure: 'stop', follow: true },
    show: {
      asked: nothing,
      event: nothing,
      redirected: nothing,
      stop: nothing,
      ended: (state) => ended.push(state),
    },
    signal: leaving.signal,
    redirect: () => {
      leaving.abort();
      return Promise.resolve([]);
    },
  });
  t.equal(failed, null);
  t.same(cancelled, [], 'what was asked for goes on');
  t.match(ended, { length: 1, 0: { vm: 'one', outcome: 'failed' } });
});
