import t from 'tap';
import { AgentConfigSchema } from '../../shared/config.js';

const parse = (part: object) => AgentConfigSchema.safeParse({ node: 'a', ...part });

void t.test('quantities are texts with a unit, or numbers', (t) => {
  const config = AgentConfigSchema.parse({
    node: 'a',
    guestMemory: '2GiB',
    link: { heartbeat: '100ms', silence: 1000 },
    lock: { grace: 0 },
    shutdown: { timeout: '1min' },
  });
  t.equal(config.guestMemory, 2 * 2 ** 30);
  t.strictSame(config.link, { heartbeat: 100, silence: 1000, pages: 'auto' });
  t.strictSame(config.lock, { grace: 0 });
  t.equal(config.shutdown.timeout, 60_000);
  t.end();
});

void t.test('times that a timer could not keep, or that would cut every connection, are refused', (t) => {
  const refused: object[] = [
    { link: { heartbeat: 0 } },
    { link: { heartbeat: '0s' } },
    { link: { heartbeat: '1ms' } },
    { link: { silence: 0 } },
    { link: { silence: '0ms' } },
    { link: { heartbeat: '1s', silence: '1s' } },
    { link: { silence: '1500ms' } },
    { link: { heartbeat: '1min' } },
    { link: { heartbeat: '10000h', silence: '30000h' } },
    { shutdown: { timeout: 2 ** 31 } },
    { shutdown: { timeout: '600h' } },
    { shutdown: { timeout: -1 } },
    { lock: { grace: '600h' } },
    { guestMemory: -1 },
    { guestMemory: Infinity },
  ];
  for (const part of refused) t.notOk(parse(part).success, JSON.stringify(part));
  for (const part of [
    { link: { heartbeat: '10s', silence: '1min' } },
    { link: { silence: '2s' } },
    { shutdown: { timeout: '24h' } },
    { shutdown: { timeout: 0 } },
  ]) {
    t.ok(parse(part).success, JSON.stringify(part));
  }
  t.end();
});
