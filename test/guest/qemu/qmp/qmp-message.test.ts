import fc from 'fast-check';
import { test } from 'tap';
import { QmpConnectionError } from '../../../../agent/guest/qemu/qmp/qmp-errors.js';
import { parseQmpMessage } from '../../../../agent/guest/qemu/qmp/qmp-message.js';

const now = () => 42;
const parse = (line: string) => parseQmpMessage(line, now);

void test('what QEMU says, as QEMU writes it', (t) => {
  t.same(
    parse(
      '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}',
    ),
    { type: 'greeting', version: { major: 7, minor: 2, micro: 22, package: 'Debian 1:7.2' } },
  );
  t.same(parse('{"return": {"status": "prelaunch"}, "id": 3}'), {
    type: 'reply',
    id: 3,
    value: { status: 'prelaunch' },
  });
  t.same(
    parse('{"id": 4, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}'),
    {
      type: 'error',
      id: 4,
      class: 'CommandNotFound',
      desc: 'The command x has not been found',
    },
  );
  t.same(parse('{"timestamp": {"seconds": 1700000000, "microseconds": 123456}, "event": "STOP"}'), {
    type: 'event',
    event: { name: 'STOP', data: {}, at: 1_700_000_000_123.456 },
  });
  t.end();
});

void test('an event without a time has the time at which it is read', (t) => {
  t.match(parse('{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "STOP", "data": {"a": [1]}}'), {
    event: { at: 42, data: { a: [1] } },
  });
  t.end();
});

void test('what is not QMP is refused by name', (t) => {
  const bad: [RegExp, string][] = [
    [/'HTTP\/1.1 400 Bad Request' is no JSON/, 'HTTP/1.1 400 Bad Request'],
    [/is no JSON/, '{"return": {}'],
    [/neither greeting, reply, error nor event/, '[]'],
    [/neither greeting, reply, error nor event/, 'null'],
    [/neither greeting, reply, error nor event/, '7'],
    [/neither greeting, reply, error nor event/, '{"id": 1}'],
    [/neither greeting, reply, error nor event/, '{"__proto__": {"return": {}}, "id": 1}'],
    [/the greeting is not valid: QMP: /, '{"QMP": 1}'],
    [/QMP.version.qemu.major: /, '{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": "7"}}}}'],
    [/a reply is not valid: id: /, '{"return": {}}'],
    [/a reply is not valid: id: /, '{"return": {}, "id": "1"}'],
    [/an error is not valid: error: /, '{"error": "no", "id": 1}'],
    [/an error is not valid: id: /, '{"error": {"class": "GenericError", "desc": "Invalid JSON syntax"}}'],
    [/an event is not valid: event: /, '{"event": {}, "timestamp": {"seconds": 1, "microseconds": 1}}'],
    [/an event is not valid: timestamp: /, '{"event": "STOP"}'],
    [
      /an event is not valid: data: /,
      '{"event": "STOP", "data": 1, "timestamp": {"seconds": 1, "microseconds": 1}}',
    ],
  ];
  for (const [message, line] of bad) {
    t.throws(() => parse(line), { name: 'QmpConnectionError', end: 'protocol', message }, line);
  }
  t.end();
});

void test('no line crashes the parser', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (line) => {
      try {
        parse(line);
      } catch (error) {
        return error instanceof QmpConnectionError;
      }
      return true;
    }),
  );
  t.end();
});
