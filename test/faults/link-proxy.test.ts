import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { CONTROL_PATH } from '../../agent/link/link-paths.js';
import { LinkConditions, LinkProxy } from './link-proxy.js';

/** One connection by way of a proxy: both of its ends, and all that each of them has heard. */
async function connected(t: Test) {
  const link = new LinkConditions();
  const proxy = await LinkProxy.listen(link, 'a', 'b');
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy.upstreamPort = (server.address() as AddressInfo).port;
  const near = connect({ port: Number(new URL(proxy.url).port), host: '127.0.0.1', allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [Socket];
  t.teardown(async () => {
    near.destroy();
    far.destroy();
    server.close();
    await proxy.close();
  });
  for (const socket of [near, far]) socket.on('error', () => undefined);
  return { link, near: heard(near), far: heard(far) };
}

function heard(socket: Socket) {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  return {
    socket,
    /** Resolves once it has heard so much; all that it has. */
    async hears(bytes: number): Promise<string> {
      while (text.length < bytes) await once(socket, 'data');
      return text;
    },
    get text() {
      return text;
    },
  };
}

const HEAD = `GET ${CONTROL_PATH} HTTP/1.1\r\n`;

await t.test('a trap springs at its byte, and what follows is held back until it is done', async (t) => {
  const { link, near, far } = await connected(t);
  const sprung = new Promise<() => void>((resolve) => {
    link.traps.add({
      find: ({ sender, position, bytes }) => {
        const at = HEAD.length + 3 - position;
        return sender === 'a' && at >= 0 && at < bytes.length ? at : null;
      },
      spring: () => new Promise((release) => resolve(release)),
    });
  });
  near.socket.write(`${HEAD}abcdef`);
  const release = await sprung;
  t.equal(await far.hears(HEAD.length + 3), `${HEAD}abc`);
  release();
  t.equal(await far.hears(HEAD.length + 6), `${HEAD}abcdef`);
});

await t.test('a stall holds back in both directions and loses nothing', async (t) => {
  const { link, near, far } = await connected(t);
  near.socket.write(HEAD);
  await far.hears(HEAD.length);
  const end = link.stall('control');
  near.socket.write('one way');
  far.socket.write('the other');
  t.equal(far.text, HEAD);
  end();
  t.equal(await far.hears(HEAD.length + 7), `${HEAD}one way`);
  t.equal(await near.hears(9), 'the other');
});

await t.test('half of it can be closed', async (t) => {
  const { link, near, far } = await connected(t);
  near.socket.write(HEAD);
  await far.hears(HEAD.length);
  const ended = once(far.socket, 'end');
  link.closeHalf('link', 'a');
  await ended;
  near.socket.write('dropped');
  far.socket.write('still heard');
  t.equal(await near.hears(11), 'still heard');
  t.equal(far.text, HEAD);
});

await t.test('a cut resets both ends, of those connections alone that are meant', async (t) => {
  const { link, near, far } = await connected(t);
  near.socket.write(HEAD);
  await far.hears(HEAD.length);
  link.cut('pages');
  t.equal(link.connections.size, 1);
  const resets = [near, far].map(({ socket }) => new Promise((resolve) => socket.on('close', resolve)));
  link.cut('control');
  await Promise.all(resets);
  t.equal(
    near.socket.errored && 'code' in near.socket.errored ? near.socket.errored.code : null,
    'ECONNRESET',
  );
});
