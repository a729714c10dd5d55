import t from 'tap';
import { z } from 'zod';
import { MigrationIdSchema, NameSchema } from '../../shared/names.js';
import { validate } from '../../shared/validate.js';

const Schema = z.strictObject({
  name: NameSchema,
  inner: z.strictObject({ count: z.number().int().min(1) }),
});

void t.test('what is valid comes back as a fresh object', (t) => {
  const value = { name: 'vm', inner: { count: 1 } };
  const valid = validate(Schema, value, 'invalid-request', 'the request');
  t.strictSame(valid, value);
  t.not(valid, value);
  t.not(valid.inner, value.inner);
  t.end();
});

void t.test('what is not is told: the thing, each field and why', (t) => {
  t.throws(() => validate(Schema, { name: '-', inner: { count: 0 } }, 'bad-message', 'the request'), {
    code: 'bad-message',
    message: /^the request is not valid: name: must be 1 to 63 letters.*; inner\.count: .*1$/,
  });
  t.throws(() => validate(Schema, 7, 'invalid-request', 'the request'), {
    message: /the request is not valid: /,
  });
  t.throws(() => validate(Schema, { name: 'vm', inner: { count: 1 }, more: 1 }, 'invalid-request', 'it'), {
    message: /more/,
  });
  t.end();
});

void t.test('the message stays readable, however much is wrong', (t) => {
  const many = z.array(z.number());
  const value = Array.from({ length: 1000 }, () => 'x');
  try {
    validate(many, value, 'bad-message', 'the list');
    t.fail('it was taken');
  } catch (error) {
    t.equal((error as Error).message.split(';').length, 5);
  }
  t.end();
});

void t.test('names are safe in file names, URLs and logs', (t) => {
  for (const name of ['a', 'vm-1', 'Node.example_2', 'x'.repeat(63)])
    t.ok(NameSchema.safeParse(name).success, name);
  const bad = ['', '.', '..', '-a', '_a', 'a/b', '../a', 'a b', 'a\n', 'ä', 'a%2f', 'x'.repeat(64), 1, null];
  for (const name of bad) t.notOk(NameSchema.safeParse(name).success, JSON.stringify(name));
  for (const id of ['m-000001', '01234567', 'a'.repeat(64)])
    t.ok(MigrationIdSchema.safeParse(id).success, id);
  for (const id of [
    'm-00001',
    'M-000001',
    '-m000001',
    'm_000001',
    'a'.repeat(65),
    'm-000001\n',
    '../../etc',
  ]) {
    t.notOk(MigrationIdSchema.safeParse(id).success, JSON.stringify(id));
  }
  t.end();
});
