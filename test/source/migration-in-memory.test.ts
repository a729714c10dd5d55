import t, { type Test } from 'tap';
import type { Connection } from '../../agent/link/connection.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { decodeSourceMessage } from '../../shared/protocol/control-codec.js';
import { ArrayGuest } from '../support/array-guest.js';
import { MemoryMigration, type MemoryMigrationOptions } from '../support/memory-migration.js';

/** A guest with some content, some of it zero pages inside of populated ones. */
function filledGuest(): ArrayGuest {
  const guest = new ArrayGuest('vm', 64, 16);
  for (let page = 0; page < 40; page += 1) guest.write(0, page, page % 7);
  guest.write(1, 3, 9);
  return guest;
}

async function migrate(test: Test, guest: ArrayGuest, options: MemoryMigrationOptions = {}) {
  const migration = await MemoryMigration.start(guest, options);
  test.teardown(() => migration.clean());
  return { migration, result: await migration.source.settled };
}

function assertSameMemory(test: Test, a: ArrayGuest, b: ArrayGuest): void {
  for (const [index, region] of a.regions.entries()) {
    test.ok(Buffer.compare(region.memory, b.regions[index]!.memory) === 0, `region ${index} is the same`);
  }
}

void t.test('a guest that writes while it is copied arrives whole and runs there alone', async (t) => {
  const guest = filledGuest();
  guest.onHarvest = (harvest) => {
    if (harvest >= 3) return;
    for (let page = 0; page < 30 >> harvest; page += 1) guest.write(0, page, 100 + harvest);
  };
  const { migration, result } = await migrate(t, guest, { options: { maxDowntimeMs: 5 } });
  const copy = migration.copy!;
  t.equal(result.outcome, 'completed');
  t.equal(result.error, null);
  assertSameMemory(t, guest, copy);
  t.strictSame([...copy.loadedState!], [1, 2, 3]);
  t.strictSame(migration.runnable, [copy]);
  t.ok(guest.destroyed);
  t.notOk(guest.tracking);
  t.strictSame(migration.adopted, [copy]);
  t.equal(migration.sourceJournal.get('m-00000001'), undefined, 'the source has forgotten the question');
  t.equal(migration.targetJournal.get('m-00000001')?.decision, 'committed');

  // threshold 0: only an empty residual ends the rounds
  t.strictSame(
    result.rounds.map(({ round, residualPages }) => [round, residualPages]),
    [
      [0, 30],
      [1, 15],
      [2, 7],
      [3, 0],
      [4, 0],
    ],
  );
  t.equal(result.rounds[0]!.pages, 35, 'populated pages alone');
  t.equal(result.populatedBytes, 35 * PAGE_SIZE);
  t.equal(result.ramBytes, 80 * PAGE_SIZE);
  t.strictSame(result.convergence, { reason: 'below-threshold', action: 'switch-over', thresholdBytes: 0 });
  t.equal(result.writeLog, 'scripted');
  const parts = Object.values(result.downtime).reduce((sum, ms) => sum + ms, 0);
  t.ok(Math.abs(parts - result.downtimeMs) < 1e-6, 'the parts of the downtime add up to it');
  t.ok(result.wireBytes > result.rounds.reduce((sum, round) => sum + round.bytes, 0));
});

void t.test(
  'what the guest writes is told over the time in which it did, that before the first round too',
  async (t) => {
    let clock = 0;
    const guest = filledGuest();
    const populated = guest.populated.bind(guest);
    guest.populated = () => {
      clock += 400;
      return populated();
    };
    guest.onHarvest = (harvest) => {
      clock += 100;
      for (let page = 0; page < [20, 10, 0][harvest]!; page += 1) guest.write(0, page, 100 + harvest);
    };
    const { result } = await migrate(t, guest, { options: { maxDowntimeMs: 0 }, now: () => clock });
    t.strictSame(
      result.rounds.map(({ dirtyPagesPerSecond }) => dirtyPagesPerSecond),
      [50, 100, 0, 0],
      'in 400 and in 100 ms',
    );
  },
);

void t.test('pages that become zero travel as zero, and what device saving writes is not lost', async (t) => {
  const guest = filledGuest();
  guest.onHarvest = (harvest) => {
    if (harvest === 0) guest.write(0, 5, 0);
  };
  const save = guest.saveState.bind(guest);
  guest.saveState = async () => {
    const state = await save();
    guest.state = 'running';
    guest.write(1, 7, 77);
    guest.state = 'paused';
    return state;
  };
  const { migration, result } = await migrate(t, guest);
  t.equal(result.outcome, 'completed');
  t.equal(migration.copy!.regions[1]!.memory[7 * PAGE_SIZE], 77);
  t.equal(migration.copy!.regions[0]!.memory[5 * PAGE_SIZE], 0);
  t.equal(
    result.rounds.reduce((sum, round) => sum + round.zeroPages, 0),
    1,
  );
});

void t.test('several streams, with an image', async (t) => {
  const image = new Uint8Array(3_000_000).fill(5);
  const { migration, result } = await migrate(t, filledGuest(), { options: { streams: 3 }, image });
  t.equal(result.outcome, 'completed');
  t.equal(migration.pageConnections.length, 3);
  t.ok(Buffer.compare(migration.stagedImage!, image) === 0);
  assertSameMemory(t, migration.guest, migration.copy!);
});

void t.test(
  'a guest that its operator has paused moves and stays paused; a finished one stays finished',
  async (t) => {
    const guest = filledGuest();
    guest.state = 'paused';
    const { migration, result } = await migrate(t, guest);
    t.equal(result.outcome, 'completed');
    t.equal(migration.copy!.state, 'paused');
    t.notMatch(migration.copy!.calls, ['resume']);
    t.strictSame(migration.runnable, []);
  },
);

void t.test('verification', async (t) => {
  for (const verify of ['after', 'strict'] as const) {
    await t.test(`${verify}: all pages are compared`, async (t) => {
      const { result } = await migrate(t, filledGuest(), { options: { verify } });
      t.equal(result.outcome, 'completed');
      t.strictSame(result.verify, { mode: verify, pagesChecked: 80, mismatches: 0 });
    });
  }
  const forgetful = () => {
    const guest = filledGuest();
    // the write-log misses this page
    guest.onHarvest = (harvest) => {
      if (harvest === 0) guest.write(0, 11, 200, false);
    };
    return guest;
  };
  await t.test('strict: a page that the write-log missed aborts, and the guest runs on here', async (t) => {
    const { migration, result } = await migrate(t, forgetful(), { options: { verify: 'strict' } });
    t.equal(result.outcome, 'failed');
    t.equal(result.error?.code, 'verify-mismatch');
    t.equal(result.verify.mismatches, 1);
    t.match(result.error?.message, /page 11 of ram0/);
    t.strictSame(migration.runnable, [migration.guest]);
  });
  await t.test('after: it is found, once the guest has moved', async (t) => {
    const { migration, result } = await migrate(t, forgetful(), { options: { verify: 'after' } });
    t.equal(result.outcome, 'completed');
    t.equal(result.error?.code, 'verify-mismatch');
    t.equal(result.verify.mismatches, 1);
    t.strictSame(migration.runnable, [migration.copy]);
  });
  await t.test('after: one that could not be done is no success, and the guest has moved', async (t) => {
    const decorateSourceControl = (connection: Connection): Connection => {
      const send = connection.send.bind(connection);
      connection.send = async (data) => {
        if (decodeSourceMessage(data).type === 'verify-request') throw new Error('the cable is out');
        await send(data);
      };
      return connection;
    };
    const { migration, result } = await migrate(t, filledGuest(), {
      options: { verify: 'after' },
      decorateSourceControl,
    });
    t.equal(result.outcome, 'completed');
    t.match(result.error, { code: 'verify-incomplete', message: /\(0 pages were\): the cable is out/ });
    t.match(result.verify, { pagesChecked: 0, mismatches: 0 });
    t.strictSame(migration.runnable, [migration.copy]);
  });
});

void t.test('a guest that writes faster than the link carries', async (t) => {
  const restless = () => {
    const guest = filledGuest();
    guest.onHarvest = () => {
      for (let page = 0; page < 40; page += 1) guest.write(0, page, page + 1);
    };
    return guest;
  };
  await t.test('is switched over at the limit if the options say so', async (t) => {
    const options = { maxDowntimeMs: 0, stallRounds: 3, onLimit: 'switch-over' } as const;
    const { migration, result } = await migrate(t, restless(), { options });
    t.equal(result.outcome, 'completed');
    t.strictSame(result.convergence, { reason: 'stalled', action: 'switch-over', thresholdBytes: 0 });
    t.equal(result.rounds.length, 5, 'round 0 sets the minimum, three without a new one, the switchover');
    t.strictSame(migration.runnable, [migration.copy]);
    assertSameMemory(t, migration.guest, migration.copy!);
  });
  await t.test('is left here if they say cancel', async (t) => {
    const options = { maxDowntimeMs: 0, maxRounds: 2, onLimit: 'cancel' } as const;
    const { migration, result } = await migrate(t, restless(), { options });
    t.equal(result.outcome, 'failed');
    t.match(result.error, {
      ...{ code: 'not-converging', retryable: true },
      message: /^the downtime limit leaves nothing for what the guest writes \(round-limit after 2 rounds, /,
    });
    t.strictSame(result.convergence, { reason: 'round-limit', action: 'cancel', thresholdBytes: 0 });
    t.equal(result.rounds.length, 2);
    t.strictSame(migration.runnable, [migration.guest]);
    await migration.target.settled;
    t.ok(migration.copy!.destroyed);
  });
  await t.test('time limit', async (t) => {
    let clock = 0;
    const guest = restless();
    const onHarvest = guest.onHarvest;
    guest.onHarvest = (harvest) => {
      clock += 100;
      onHarvest(harvest);
    };
    const options = { maxDowntimeMs: 0, maxTotalMs: 250, stallRounds: 50 };
    const { result } = await migrate(t, guest, { options, now: () => clock });
    t.equal(result.convergence?.reason, 'time-limit');
    t.equal(result.rounds.length, 4);
  });
  await t.test('a time limit ends a round that takes too long', async (t) => {
    for (const onLimit of ['switch-over', 'cancel'] as const) {
      let clock = 0;
      const guest = new ArrayGuest('vm', 2048);
      for (let page = 0; page < 2048; page += 1) guest.write(0, page, (page % 250) + 1);
      const options = { maxDowntimeMs: 0, maxTotalMs: 500, onLimit };
      // each look at the clock is 100 ms later: the limit comes within round 0
      const { migration, result } = await migrate(t, guest, { options, now: () => (clock += 100) });
      t.equal(result.convergence?.reason, 'time-limit');
      t.ok(result.rounds[0]!.pages < 2048 && result.rounds[0]!.residualPages > 0, 'round 0 was ended');
      t.equal(result.rounds[0]!.pages + result.rounds[0]!.residualPages, 2048);
      if (onLimit === 'cancel') {
        t.equal(result.error?.code, 'not-converging');
        t.strictSame(migration.runnable, [guest]);
      } else {
        t.equal(result.outcome, 'completed');
        t.equal(result.rounds.length, 2);
        assertSameMemory(t, guest, migration.copy!);
      }
    }
  });
});
