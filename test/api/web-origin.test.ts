import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import t from 'tap';
import { checkWebOrigin } from '../../agent/api/web-origin.js';

/** `localAddress`: where the caller came in; none for a unix socket. */
function check(host: string, origin?: string, { tls = false, localAddress }: Place = {}): void {
  const socket = tls ? new TLSSocket(new Socket()) : new Socket();
  Object.defineProperty(socket, 'localAddress', { value: localAddress });
  checkWebOrigin({ socket, headers: { host, ...(origin !== undefined && { origin }) } } as IncomingMessage);
}

interface Place {
  readonly tls?: boolean;
  readonly localAddress?: string;
}

const LOOPBACK: Place = { localAddress: '127.0.0.1' };
const NETWORK: Place = { localAddress: '10.0.0.1' };
const TLS: Place = { tls: true, localAddress: '10.0.0.1' };

void t.test("the agent's own page may ask, by any name that is the agent's alone", (t) => {
  const names = ['127.0.0.1:7800', 'localhost:7800', 'host-a:7800', 'a.localhost:7800', '[::1]:7800'];
  for (const host of names) t.doesNotThrow(() => check(host, `http://${host}`, LOOPBACK), host);
  t.doesNotThrow(() => check('10.0.0.1:7800', 'http://10.0.0.1:7800', NETWORK));
  t.doesNotThrow(() => check('a.example.com', 'https://a.example.com', TLS), 'the certificate has proven it');
  t.end();
});

void t.test('no page of anybody else may', (t) => {
  const refused = { code: 'invalid-request', message: /web pages of others/ };
  const foreign = ['http://evil.example', 'http://127.0.0.1:7801', 'https://127.0.0.1:7800', 'null', ''];
  for (const origin of foreign) t.throws(() => check('127.0.0.1:7800', origin, LOOPBACK), refused, origin);
  t.throws(() => check('a.example.com', 'http://a.example.com', TLS), refused, 'a page without TLS');
  t.end();
});

void t.test('nor one whose name was made to point at the agent', (t) => {
  const refused = { code: 'invalid-request', message: /use 'localhost'/ };
  const rebound = ['evil.example:7800', '127.0.0.1.evil.example', '[evil.example]', '1.2.3.4.5:7800'];
  for (const host of rebound) {
    for (const place of [LOOPBACK, { localAddress: '::1' }, { localAddress: '::ffff:127.0.0.1' }, {}]) {
      t.throws(() => check(host, undefined, place), refused, `${host} looks`);
      t.throws(() => check(host, `http://${host}`, place), refused, `${host} acts`);
    }
    t.throws(() => check(host, `http://${host}`, NETWORK), refused);
  }
  t.end();
});

void t.test('programs need no name that a browser would be asked for', (t) => {
  t.doesNotThrow(() => check('unix', undefined, {}), 'the command line at a unix socket');
  t.doesNotThrow(() => check('a.example.com:7800', undefined, NETWORK), 'a peer in a lab');
  t.doesNotThrow(() => check('a.example.com:7800', undefined, { ...TLS, localAddress: '127.0.0.1' }));
  t.end();
});
