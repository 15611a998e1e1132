// Operations of node-postgres, one line of output each: its name, a tab, and a canonical record of what came of it.
//
// Arguments: port and database of a server to which postgres may connect without a password, and where the packages are.
// Each operation has a connection of its own.
'use strict';
const path = require('path');
const crypto = require('crypto');
const { createRequire } = require('module');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');

const [, , port, database, packages] = process.argv;
const load = createRequire(path.resolve(packages, 'package.json'));
const pg = load('pg');
const Cursor = load('pg-cursor');
const copyStreams = load('pg-copy-streams');

const operations = [];
const operation = (name, run) => operations.push([name, run]);

async function connect(extra) {
  const client = new pg.Client({ host: '127.0.0.1', port: Number(port), database, user: 'postgres', ...extra });
  client.lost = [];
  client.on('error', (error) => client.lost.push(told(error)));
  await client.connect();
  return client;
}

/** Runs with a connection, and ends it. */
async function using(run, extra) {
  const client = await connect(extra);
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

const FIELDS = ['severity', 'code', 'detail', 'hint', 'position', 'internalPosition', 'internalQuery', 'where', 'schema',
  'table', 'column', 'dataType', 'constraint', 'file', 'line', 'routine'];

/** An error or a notice with all of its fields that are there. */
function told(error) {
  const fields = { message: error.message.replaceAll(database, 'DATABASE').replaceAll(port, 'PORT') };
  for (const name of FIELDS) if (error[name] !== undefined) fields[name] = error[name];
  return fields;
}

/** What a result says of itself, and its rows. */
function shown(result) {
  if (Array.isArray(result)) return result.map(shown);
  const columns = result.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.dataTypeModifier, f.format]);
  return { command: result.command, count: result.rowCount, columns, rows: result.rows };
}

async function attempt(promise) {
  try {
    return await promise;
  } catch (error) {
    return told(error);
  }
}

const VALUES = [
  ['int4', 'int4', 42], ['int8', 'int8', '9007199254740993'], ['float8', 'float8', 0.1], ['nan', 'float8', NaN],
  ['numeric', 'numeric', '123456789.000000001'], ['bool', 'bool', false], ['text', 'text', 'gr\u00fcn \u20ac \u{1f418}'],
  ['empty text', 'text', ''], ['long text', 'text', 'y'.repeat(300000)], ['null', 'text', null],
  ['bytea', 'bytea', Buffer.from(Array.from({ length: 256 }, (_, n) => n))], ['date', 'date', '2024-02-29'],
  ['timestamptz', 'timestamptz', new Date(Date.UTC(2024, 6, 1))], ['interval', 'interval', '1 day 02:03:04.5'],
  ['jsonb', 'jsonb', { a: [1, null, 'b'] }], ['array', 'int4[]', [1, null, 3]], ['text array', 'text[]', ['a', 'b"', '{}']],
  ['uuid', 'uuid', '00000000-0000-0000-0000-000000000007'], ['inet', 'inet', '::1'], ['point', 'point', '(1,2)'],
];
for (const [name, type, value] of VALUES) {
  const text = `select $1::${type} as v, pg_typeof($1::${type})::text as t`;
  operation(`value ${name}`, () => using(async (c) => shown(await c.query(text, [value]))));
}
// The driver reads binary values as text before it parses them: here they stay as they are then.
const raw = { getTypeParser: () => (value) => Buffer.from(value).toString('hex') };
for (const [name, type, value] of VALUES.slice(0, 12)) {
  const query = { name: 'kept', text: `select $1::${type} as v`, values: [value], rowMode: 'array', types: raw };
  operation(`value binary prepared ${name}`, () => using(async (c) => {
    await c.query(query);
    const again = await c.query(query);
    return shown(again);
  }, { binary: true }));
}

const ERRORS = {
  syntax: 'selec 1', table: 'select * from nowhere', column: 'select nothing from pg_class', division: 'select 1/0',
  unique: "insert into things values (1, 'again')", check: "insert into things values (-1, 'x')",
  'not null': "insert into things values (null, 'x')", 'foreign key': 'insert into parts values (77)',
  function: 'select deep(3)', domain: 'select (-1)::positive',
  raise: "do $$ begin raise 'told' using errcode = 'P0099', detail = 'd', hint = 'h', column = 'c', constraint = 'k', " +
    "datatype = 't', table = 'ta', schema = 's'; end $$",
};
for (const [name, text] of Object.entries(ERRORS)) {
  operation(`error ${name}`, () => using(async (c) => [await attempt(c.query(text)), shown(await c.query('select 1'))]));
}
for (const name of ['table', 'division', 'unique', 'function']) {
  operation(`error extended ${name}`, () => using(async (c) => {
    const first = await attempt(c.query({ name: 'bad', text: ERRORS[name], values: [] }));
    return [first, await attempt(c.query(`${ERRORS[name]} -- $1`, [])), shown(await c.query('select $1::int', [1]))];
  }));
}
operation('error bad parameter', () => using((c) => c.query('select $1::int', ['x'])));
operation('error too few parameters', () => using((c) => c.query('select $1::int + $2::int', [1])));
operation('error null byte', () => using((c) => c.query('select $1::text', ['a\0b'])));

const STATEMENTS = {
  empty: '', several: 'select 1 as a; select 2 as b, 3 as c; update things set name = name', 'no columns': 'select',
  'many rows': 'select n, n * 2 as m from generate_series(1, 20000) n', large: "select repeat('r', 1000000) as r",
  returning: "insert into things values (6, 'f') returning *", delete: 'delete from things where id = 6', call: 'call act(3)',
  explain: 'explain (costs off) values (1), (2)', show: 'show client_encoding',
  'time zone': "set time zone 'Asia/Kolkata'; select timestamptz '2024-01-01 00:00Z' as t",
};
for (const [name, text] of Object.entries(STATEMENTS)) {
  operation(`statement ${name}`, () => using(async (c) => shown(await c.query(text))));
}

operation('notices', () => using(async (c) => {
  const heard = [];
  c.on('notice', (notice) => heard.push(told(notice)));
  await c.query("do $$ begin raise notice 'one'; raise warning 'two' using hint = 'h'; end $$");
  return heard;
}));
operation('queued', () => using(async (c) => {
  const all = Array.from({ length: 50 }, (_, n) => c.query('select $1::int as n', [n]));
  return (await Promise.all(all)).map((result) => result.rows[0].n);
}));
operation('queued with an error', () => using(async (c) => {
  const all = ['select 1 as n', 'select 1/0', 'select 3 as n'].map((text) => attempt(c.query(text)));
  return (await Promise.all(all)).map((result) => result.rows ?? result);
}));
operation('prepared', () => using(async (c) => {
  const seen = [];
  for (let n = 0; n < 10; n += 1) seen.push((await c.query({ name: 'p', text: 'select $1::int + 1 as n', values: [n] })).rows);
  return [seen, shown(await c.query('select count(*) from pg_prepared_statements where name = \'p\''))];
}));
operation('prepared for several', () => using(async (c) => {
  const seen = [];
  for (let n = 0; n < 300; n += 1) {
    seen.push((await c.query({ name: `p${n}`, text: `select $1::int + ${n} as n`, values: [n] })).rows[0].n);
  }
  for (let n = 0; n < 300; n += 1) {
    seen.push((await c.query({ name: `p${n}`, text: `select $1::int + ${n} as n`, values: [1] })).rows[0].n);
  }
  return seen;
}));
operation('transaction', () => using(async (c) => {
  const tags = [];
  for (const text of ['begin', "insert into things values (70, 'x')", 'savepoint s', 'delete from things', 'rollback to s',
    'select count(*) from things where id = 70', 'rollback']) {
    const result = await c.query(text);
    tags.push([result.command, result.rowCount, result.rows]);
  }
  return tags;
}));
operation('transaction failed', () => using(async (c) => {
  const seen = [];
  for (const text of ['begin', 'select 1/0', 'select 1', 'commit']) seen.push(await attempt(c.query(text).then((r) => r.command)));
  return seen;
}));

const copied = (text, data) => using(async (c) => {
  await c.query('create temp table copied (a int, b text)');
  const came = await attempt(pipeline(Readable.from(data), c.query(copyStreams.from(text))).then(() => 'done'));
  return [came, shown(await c.query("select count(*), sum(a), md5(string_agg(b, '' order by a)) from copied"))];
});
operation('copy in', () => copied('copy copied from stdin', Array.from({ length: 5000 }, (_, n) => `${n}\tline ${n}\n`)));
operation('copy in csv', () => copied('copy copied from stdin (format csv)', ['1,"a,b"\n', '2,\n']));
operation('copy in bad row', () => copied('copy copied from stdin', ['1\ta\n', 'x\tb\n']));
operation('copy in no table', () => copied('copy nowhere from stdin', ['1\ta\n']));
operation('copy in nothing', () => copied('copy copied from stdin', []));
const copiedOut = (text) => using(async (c) => {
  const parts = [];
  const ended = await attempt(pipeline(c.query(copyStreams.to(text)), async (source) => {
    for await (const part of source) parts.push(part);
  }).then(() => 'done'));
  return [ended, Buffer.concat(parts).toString('latin1'), shown(await c.query('select 1'))];
});
operation('copy out', () => copiedOut("copy (select n, 'v' || n from generate_series(1, 2000) n) to stdout"));
operation('copy out binary', () => copiedOut('copy (select n from generate_series(1, 20) n) to stdout (format binary)'));
operation('copy out error within', () => copiedOut('copy (select 10 / (3 - n) from generate_series(1, 5) n) to stdout'));

operation('cursor', () => using(async (c) => {
  const cursor = c.query(new Cursor('select n from generate_series(1, $1) n', [25]));
  const parts = [];
  for (let rows = await cursor.read(10); rows.length > 0; rows = await cursor.read(10)) parts.push(rows.map((row) => row.n));
  await cursor.close();
  return parts;
}));
operation('cursor closed early', () => using(async (c) => {
  const cursor = c.query(new Cursor('select n from generate_series(1, 100000) n'));
  const rows = await cursor.read(3);
  await cursor.close();
  return [rows, shown(await c.query('select 1'))];
}));
operation('cursor error', () => using(async (c) => {
  const cursor = c.query(new Cursor('select 10 / (3 - n) as q from generate_series(1, 5) n'));
  return [await attempt(cursor.read(2)), await attempt(cursor.read(2)), shown(await c.query('select 1'))];
}));

operation('listen and notify', () => using(async (c) => {
  const heard = [];
  const all = new Promise((resolve) => {
    c.on('notification', (n) => heard.push([n.channel, n.payload]) === 3 && resolve());
  });
  await c.query('listen told');
  await c.query("notify told, 'one'; select pg_notify('told', 'two')");
  await using((other) => other.query("notify told, 'three'"));
  await all;
  return heard;
}));
operation('cancel', () => using(async (c) => {
  c.once('notice', () => {
    const canceler = new pg.Client({ host: '127.0.0.1', port: Number(port) });
    canceler.on('error', () => {});
    const { stream } = canceler.connection;
    canceler.connection.once('connect', () => canceler.connection.cancel(c.processID, c.secretKey));
    stream.setNoDelay(true);
    canceler.connection.connect(Number(port), '127.0.0.1');
  });
  const first = await attempt(c.query("do $$ begin raise notice 'running'; perform pg_sleep(60); end $$"));
  return [first, shown(await c.query('select 1'))];
}));
operation('statement timeout', () => using(async (c) => {
  await c.query("set statement_timeout = '50ms'");
  return [await attempt(c.query('select pg_sleep(60)')), shown(await c.query('select 1'))];
}));
operation('set and show', () => using(async (c) => {
  await c.query("set application_name = 'changed'");
  await c.query("set datestyle = 'German'");
  return shown(await c.query("select current_setting('application_name') as a, date '2024-01-31'::text as d"));
}));
operation('large object', () => using(async (c) => {
  await c.query('begin');
  const oid = (await c.query('select lo_from_bytea(0, $1) as o', [Buffer.alloc(70000, 7)])).rows[0].o;
  const got = await c.query('select length(lo_get($1)) as l, lo_unlink($1) as u', [oid]);
  await c.query('commit');
  return shown(got);
}));

const CONNECTIONS = {
  plain: {}, 'application name': { application_name: 'mine' }, 'wrong database': { database: 'nowhere' },
  'wrong role': { user: 'nobody_at_all' }, 'client encoding': { client_encoding: 'LATIN1' },
  'statement timeout': { statement_timeout: 4321 }, options: { options: '-c work_mem=7MB' },
};
for (const [name, extra] of Object.entries(CONNECTIONS)) {
  operation(`connection ${name}`, () => using(async (c) => shown(await c.query(
    "select current_setting('application_name') as a, current_setting('client_encoding') as e, " +
    "current_setting('statement_timeout') as t, current_setting('work_mem') as w, chr(252) as u")), extra));
}
operation('terminated', () => using(async (c) => {
  await c.query('begin');
  const { pid } = (await c.query('select pg_backend_pid() as pid')).rows[0];
  const ended = new Promise((resolve) => { c.once('end', resolve); });
  await using((other) => other.query('select pg_terminate_backend($1, 10000)', [pid]));
  const answer = await attempt(c.query('select 1').then(shown));
  await ended;
  return [c.lost.length > 0 ? c.lost[0].code : null, answer.code !== undefined || answer.message !== undefined];
}));
operation('pool', async () => {
  const pool = new pg.Pool({ host: '127.0.0.1', port: Number(port), database, user: 'postgres', max: 4 });
  const all = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('select $1::int as n', [n])));
  await pool.end();
  return all.map((result) => result.rows[0].n);
});
operation('reconnect', async () => {
  const seen = [];
  for (let n = 0; n < 10; n += 1) {
    seen.push(await using(async (c) => {
      const found = (await c.query("select to_regclass('pg_temp.mine') as t")).rows;
      await c.query('create temp table mine (a int)');
      return found;
    }));
  }
  return seen;
});

async function main() {
  for (const [name, run] of operations) {
    const text = JSON.stringify(await attempt(run()));
    const record = text.length < 20000 ? text : `${text.length} ${crypto.createHash('md5').update(text).digest('hex')}`;
    console.log(`${name}\t${record.replaceAll(database, 'DATABASE')}`);
  }
}

main();
