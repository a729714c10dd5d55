import t from 'tap';
import { EchoConnection, HostNetwork, longestGap, Pings, TAP } from '../../support/qemu-network.js';
import { QemuLab } from '../../support/qemu-lab.js';

/** A guest on a network moves between two hosts: whoever talks to it goes on talking. */

const MIGRATIONS = 6;

await t.test('a guest answers pings and holds a connection while it moves there and back', async (t) => {
  const network = await HostNetwork.create(t, ['a', 'b']);
  const lab = await QemuLab.start(t, ['a', 'b'], {}, network.placeOf);
  const { address, prefixed } = network.guestAddress(1);
  const nics = [{ tap: TAP, mac: '52:54:00:12:34:56' }];
  const work = { address: prefixed, memory: [{ mib: 16, hotMiB: 1 }] } as const;
  await lab.bootLinux('a', 'server', work, { nics });

  const echo = await EchoConnection.open(t, address);
  const pings = new Pings(t, address);
  const results = [];
  let [here, there] = ['a', 'b'];
  for (let migration = 1; migration <= MIGRATIONS; migration += 1) {
    const result = await lab.agents.migrate('server', here, there);
    t.match(result, { outcome: 'completed', error: null }, `migration ${migration}`);
    results.push(result);
    await pings.after(result.switchover?.resumedAt ?? NaN);
    [here, there] = [there, here];
  }
  const turns = await echo.end();
  t.ok(turns > MIGRATIONS, `the connection survived: ${turns} questions, each answered`);

  for (const { switchover, downtimeMs } of results) {
    const { stoppedAt = NaN, resumedAt } = switchover ?? {};
    const gapMs = longestGap(pings.answers, stoppedAt, resumedAt ?? NaN);
    t.comment(`downtime ${downtimeMs.toFixed(1)} ms, longest gap between answers ${gapMs.toFixed(1)} ms`);
  }
});
