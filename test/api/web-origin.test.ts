import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import t from 'tap';
import { checkHost, checkOrigin } from '../../agent/api/web-origin.js';

/** A page of `origin` that asks for `host`. */
function ask(host: string, origin: string, { tls = false } = {}): void {
  const socket = tls ? new TLSSocket(new Socket()) : new Socket();
  checkOrigin({ socket, headers: { host, origin } } as IncomingMessage);
}

/** A request without an origin; `from`: the caller's address, none at a unix socket. */
function look(host: string, from?: string): void {
  const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: from });
  checkHost({ socket, headers: { host } } as IncomingMessage);
}

void t.test("the agent's own page may ask", (t) => {
  const hosts = [
    '127.0.0.1:7800',
    'localhost:7800',
    'LOCALHOST',
    'a.localhost:7800',
    '[::1]:7800',
    '10.0.0.1',
  ];
  for (const host of hosts) t.doesNotThrow(() => ask(host, `http://${host}`), host);
  t.doesNotThrow(() => ask('a.example', 'https://a.example', { tls: true }), 'the certificate has proven it');
  t.doesNotThrow(
    () => checkOrigin({ socket: new Socket(), headers: { host: 'a' } } as IncomingMessage),
    'no page',
  );
  t.end();
});

void t.test('no page of anybody else may', (t) => {
  const refused = { code: 'invalid-request', message: /web pages of others/ };
  const foreign = ['http://evil.example', 'http://127.0.0.1:7801', 'https://127.0.0.1:7800', 'null', ''];
  for (const origin of foreign) t.throws(() => ask('127.0.0.1:7800', origin), refused, origin);
  t.throws(() => ask('a.example', 'http://a.example', { tls: true }), refused, 'a page without TLS');
  t.end();
});

void t.test('nor one whose name was made to stand for the agent', (t) => {
  const refused = { code: 'invalid-request', message: /could be any web site's/ };
  for (const host of [
    'evil.example:7800',
    '127.0.0.1.evil.example',
    '[evil.example]',
    '1.2.3.4.5:7800',
    'localhost.',
  ]) {
    t.throws(() => ask(host, `http://${host}`), refused, `${host} acts`);
    t.throws(() => look(host, '127.0.0.1'), refused, `${host} looks`);
    t.throws(() => look(host), refused, `${host} looks through ssh at a unix socket`);
  }
  t.throws(() => look('host-a', '127.0.0.1'), refused);
  t.doesNotThrow(() => look('host-a'), 'a program at a unix socket');
  t.doesNotThrow(() => look('127.0.0.1:7800', '127.0.0.1'));
  t.end();
});
