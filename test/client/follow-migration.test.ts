import fc from 'fast-check';
import t from 'tap';
import { followMigration, RECONNECT_DELAYS_MS } from '../../client/follow-migration.js';
import type { MigrationEvent } from '../../shared/api.js';
import { MigrationError, type ErrorCode } from '../../shared/errors.js';
import { completedMigration, MIGRATION_ID, migrationResult } from '../support/api-samples.js';

/** An agent whose streams end or fail after so many events each, as the script says; afterwards they do not. */
function flakyAgent(script: readonly { events: number; failure: ErrorCode | null }[]) {
  const all = completedMigration();
  const asked: number[] = [];
  const client = {
    url: 'http://agent',
    async *migrationEvents(_id: string, after: number): AsyncGenerator<MigrationEvent> {
      const step = script[asked.length];
      asked.push(after);
      await Promise.resolve();
      yield* all.slice(after + 1, step === undefined ? undefined : after + 1 + step.events);
      if (step !== undefined && step.failure !== null) throw new MigrationError(step.failure, step.failure);
    },
  };
  return { client, asked, all };
}

const options = (client: ReturnType<typeof flakyAgent>['client'], seen: MigrationEvent[]) => ({
  client,
  id: MIGRATION_ID,
  onEvent: (event: MigrationEvent) => seen.push(event),
  signal: new AbortController().signal,
  delay: async () => await Promise.resolve(),
});

await t.test('every event once and in order, however the stream breaks', async (t) => {
  const step = fc.record({
    events: fc.nat(4),
    failure: fc.constantFrom(
      null,
      'link-lost' as const,
      'peer-unreachable' as const,
      'shutting-down' as const,
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: RECONNECT_DELAYS_MS.length }), async (script) => {
      const { client, all } = flakyAgent(script);
      const seen: MigrationEvent[] = [];
      const result = await followMigration(options(client, seen));
      t.same(result, migrationResult());
      t.same(seen, all);
    }),
    { numRuns: 100 },
  );
});

await t.test('gives up after a bounded number of tries, in words', async (t) => {
  const dead = Array.from({ length: 100 }, () => ({ events: 0, failure: 'peer-unreachable' as const }));
  const { client, asked } = flakyAgent(dead);
  await t.rejects(followMigration(options(client, [])), {
    code: 'outcome-unknown',
    message:
      /can't be followed any more: peer-unreachable\. It may go on; look with 'vmferry status --agent http:/,
  });
  t.equal(asked.length, RECONNECT_DELAYS_MS.length + 1);
});

await t.test('does not ask again where that is of no use', async (t) => {
  const { client, asked } = flakyAgent([{ events: 2, failure: 'not-found' }]);
  await t.rejects(followMigration(options(client, [])), { code: 'outcome-unknown', message: /not-found/ });
  t.equal(asked.length, 1);
});
