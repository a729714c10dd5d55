import t from 'tap';
import { z } from 'zod';
import { queryQmp } from '../../../../agent/guest/qemu/qmp/qmp-query.js';
import { RealQemu } from './real-qemu.js';

const StatusSchema = z.object({ status: z.string(), running: z.boolean() });

void t.test(
  'the real QEMU: version, status, a refusal, start and stop with their times, its end',
  async (t) => {
    const qemu = await RealQemu.start(() => ['-accel', 'tcg', '-machine', 'q35', '-m', '32']);
    t.teardown(() => qemu.stop());
    const connection = await qemu.connect();
    t.teardown(() => connection.close());

    t.ok(connection.version.major >= 5, `version ${connection.version.major}`);
    t.same(await queryQmp(connection, StatusSchema, 'query-status'), { status: 'prelaunch', running: false });
    await t.rejects(connection.execute('no-such-command'), {
      name: 'QmpError',
      class: 'CommandNotFound',
      command: 'no-such-command',
    });
    await t.rejects(connection.execute('migrate-continue', { state: 'pre-switchover' }), {
      name: 'QmpError',
      class: 'GenericError',
    });

    const before = Date.now();
    const order: string[] = [];
    connection.onEvent(({ name }) => order.push(name));
    const resumed = connection.nextEvent(({ name }) => name === 'RESUME');
    await connection.execute('cont');
    order.push('cont');
    const stopped = connection.nextEvent(({ name }) => name === 'STOP');
    await connection.execute('stop');
    order.push('stop');
    const [from, to] = [(await resumed).at, (await stopped).at];
    t.same(order, ['RESUME', 'cont', 'STOP', 'stop'], 'an event comes before the reply to what caused it');
    t.ok(from >= before - 1 && to >= from && to <= Date.now() + 1, `${from} to ${to}`);

    const statuses = await Promise.all(Array.from({ length: 50 }, () => connection.execute('query-status')));
    t.equal(statuses.length, 50);

    const shutdown = connection.nextEvent(({ name }) => name === 'SHUTDOWN');
    const end = new Promise((resolve) => connection.onClose(resolve));
    await connection.execute('quit');
    t.match(await shutdown, { data: { reason: 'host-qmp-quit' } });
    t.match(await end, { end: 'lost' });
  },
);

void t.test('a QEMU that is killed', async (t) => {
  const qemu = await RealQemu.start(() => ['-machine', 'none']);
  t.teardown(() => qemu.stop());
  const connection = await qemu.connect();
  const end = new Promise((resolve) => connection.onClose(resolve));
  qemu.kill();
  t.match(await end, { end: 'lost' });
  await t.rejects(connection.execute('query-status'), { code: 'guest-failed', end: 'lost' });
});

void t.test('a QEMU that another client is connected to', async (t) => {
  const qemu = await RealQemu.start(() => ['-machine', 'none']);
  t.teardown(() => qemu.stop());
  const first = await qemu.connect();
  t.teardown(() => first.close());
  const { QmpConnection } = await import('../../../../agent/guest/qemu/qmp/qmp-connection.js');
  await t.rejects(QmpConnection.connect(qemu.path, { timeoutMs: 100 }), {
    end: 'silent',
    message: /another client/,
  });
});
