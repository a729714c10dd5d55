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

void t.test('what contradicts itself is refused, where it stands', (t) => {
  const http = 'http://127.0.0.1:7801';
  const tls = { certificate: 'a.pem', key: 'a-key.pem', ca: 'ca.pem' };
  const cases: [object, string, RegExp][] = [
    [{ peers: { b: http, a: 'http://127.0.0.1:7802' } }, 'peers.a', /that is this node itself/],
    [{ peers: { b: http, c: `${http}/` } }, 'peers.c', /peer b has that address already/],
    [{ peers: { b: 'http://127.0.0.1:7800' } }, 'peers.b', /where this agent itself listens/],
    [
      { listen: '[::1]:7801', peers: { b: 'http://[::1]:7801' } },
      'peers.b',
      /where this agent itself listens/,
    ],
    [{ peers: { b: 'http://10.0.0.2:78o0' } }, 'peers.b', /must be a URL like/],
    [{ peers: { b: `${http}/v1` } }, 'peers.b', /a host and a port alone/],
    [{ peers: { b: 'http://me:secret@127.0.0.1:7801' } }, 'peers.b', /a host and a port alone/],
    [{ tls, peers: { b: http } }, 'peers.b', /write https/],
    [{ peers: { b: 'https://127.0.0.1:7801' } }, 'peers.b', /this agent has none/],
    [{ listen: '10.0.0.1:7800' }, 'listen', /there is no 'tls'/],
    [{ tls, insecurePlaintext: true }, 'insecurePlaintext', /remove one of both/],
    [{ stateDirectory: '/' }, 'stateDirectory', /a directory of its own/],
    [
      { stateDirectory: '/dev/shm/vmferry' },
      'stateDirectory',
      /in 'qemu.memoryDirectory'.*name one on a disk/,
    ],
    [{ stateDirectory: '/mem', qemu: { memoryDirectory: '/mem/' } }, 'stateDirectory', /name one on a disk/],
    [{ runDirectory: '/var/lib/vmferry' }, 'runDirectory', /'stateDirectory' is that or lies in it/],
    [{ runDirectory: '/var/lib' }, 'runDirectory', /'stateDirectory' is that or lies in it/],
    [{ runDirectory: '/var/lib/vmferry/journal' }, 'runDirectory', /keeps other things in .*journal/],
  ];
  for (const [part, field, message] of cases) {
    const { error } = parse(part);
    t.equal(error?.issues.length, 1, JSON.stringify(part));
    t.match(error?.issues[0], { message }, JSON.stringify(part));
    t.equal(error?.issues[0]?.path.join('.'), field);
  }
  for (const part of [
    { peers: { b: http, c: 'http://127.0.0.1:7802' } },
    { stateDirectory: '/dev/shmail', runDirectory: '/run/vmferry' },
    { runDirectory: '/var/lib/vmferry/run' },
  ]) {
    t.ok(parse(part).success, JSON.stringify(part));
  }
  t.end();
});
