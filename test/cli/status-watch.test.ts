import t from 'tap';
import type { Look } from '../../scripts/cli/status-view.js';
import { watchStatus } from '../../scripts/cli/status-watch.js';
import type { ClusterNode } from '../../shared/api.js';
import { type ErrorCode, MigrationError } from '../../shared/errors.js';
import { guestInfo, nodeInfo } from '../support/api-samples.js';

const report: ClusterNode = {
  ...{ node: nodeInfo.node, url: 'https://a:7800', error: null },
  status: { node: nodeInfo, guests: [guestInfo()], migrations: [] },
};

/** Watches an agent that fails as the script says, answer by answer, and leaves after the last. */
async function watch(script: readonly (ErrorCode | null)[]): Promise<Look[]> {
  const shown: Look[] = [];
  const leaving = new AbortController();
  const left = [...script];
  let now = 0;
  await watchStatus([report], {
    look: async () => {
      await Promise.resolve();
      const failure = left.shift();
      if (failure) throw new MigrationError(failure, failure);
      return [report];
    },
    display: { show: (look) => shown.push(look), stop: () => undefined },
    intervalMs: 1000,
    signal: leaving.signal,
    delay: async () => {
      await Promise.resolve();
      now += 1000;
      if (left.length === 0) leaving.abort();
    },
    now: () => now,
  });
  return shown;
}

await t.test('an agent that restarts: what it told last stays, and since when it is gone', async (t) => {
  const shown = await watch([null, 'link-lost', 'peer-unreachable', 'shutting-down', null]);
  t.same(
    shown.map(({ failure }) => failure),
    [
      null,
      null,
      { reason: 'link-lost', since: 2000 },
      { reason: 'peer-unreachable', since: 2000 },
      { reason: 'shutting-down', since: 2000 },
      null,
    ],
  );
  t.ok(shown.every(({ nodes }) => nodes[0] === report));
});

await t.test('it is asked for however long', async (t) => {
  const shown = await watch(Array.from({ length: 1000 }, () => 'peer-unreachable' as const));
  t.equal(shown.length, 1001);
});

await t.test('what will not pass ends it', async (t) => {
  await t.rejects(watch(['link-lost', 'unauthenticated']), { code: 'unauthenticated' });
});
