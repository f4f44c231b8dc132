// Plays the broker's scenarios (scenario_test.go) with rhea. Standard input gives one JSON object a
// line: a scenario and where its broker is. What was observed goes to standard output line by line,
// and "." at its end. A line that starts with ">" asks the test for something, which answers with a
// line: "> pass 60" moves the broker's clock by so many seconds, "> counts" writes down its counts.
'use strict';
const readline = require('node:readline');
const { Client, Refused, lockToken, uuids, longs, types, message, SESSION_FILTER, BATCH_FORMAT } = require('./client.js');

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line) => process.stdout.write(line + '\n');
async function ask(what) {
    say(`> ${what}`);
    await input.next();
}
const pass = (seconds) => ask(`pass ${seconds}`);
const counts = () => ask('counts');

// refusals are the words of scenario_test.go for what the broker says.
const refusals = {
    'com.microsoft:message-lock-lost': 'lock lost', 410: 'lock lost',
    'amqp:not-found': 'not found', 404: 'not found',
    'amqp:unauthorized-access': 'unauthorized', 401: 'unauthorized',
    'amqp:not-allowed': 'not allowed', 'amqp:link:message-size-exceeded': 'too large',
};
async function refused(what, attempt) {
    try {
        await attempt;
    } catch (error) {
        if (!(error instanceof Refused)) throw error;
        say(`${what}: ${refusals[error.condition] || error.message}`);
        return;
    }
    say(`${what}: done`);
}

const text = (id, more) => ({ message_id: id, body: message.data_section(Buffer.from(`body of ${id}`)), ...more });
const bodyOf = (m) => Buffer.from(m.body.content || m.body).toString();

// Bench is a client with what most scenarios need.
class Bench extends Client {
    async open() {
        await this.connect();
        await this.claim('q');
        await this.claim('q/$management');
        this.sender = await this.openSender('q');
        return this;
    }

    async sendAll(...ids) {
        for (const id of ids) await this.send(this.sender, text(id));
    }

    async receiver(options) {
        return this.openReceiver('q', options);
    }

    async deadLetters() {
        await this.claim('q/$DeadLetterQueue');
        return this.openReceiver('q/$DeadLetterQueue');
    }

    async take(receiver) {
        const got = await this.receive(receiver);
        say(`${got.m.message_id} delivery ${(got.m.delivery_count || 0) + 1}`);
        return got;
    }

    complete(receiver, { delivery }) {
        return this.settle(receiver, delivery, (d) => d.accept());
    }

    async sayDead() {
        const receiver = await this.deadLetters();
        const { m } = await this.take(receiver);
        const p = m.application_properties;
        say(`dead: ${p.DeadLetterReason} / ${p.DeadLetterErrorDescription}`);
    }

    settleByToken(token, status, more) {
        return this.manage('q', 'update-disposition', { 'disposition-status': status, 'lock-tokens': uuids([token]), ...more });
    }

    renew(token) {
        return this.manage('q', 'renew-lock', { 'lock-tokens': uuids([token]) });
    }

    async schedule(...ids) {
        const at = types.wrap_timestamp(Date.now() + 60000);
        const messages = ids.map((id) => types.wrap_map({
            'message-id': id, message: message.encode(text(id, { message_annotations: { 'x-opt-scheduled-enqueue-time': at } })),
        }));
        const body = await this.manage('q', 'schedule-message', { messages: types.wrap_list(messages) });
        return body['sequence-numbers'].map(Number);
    }

    async peek() {
        const body = await this.manage('q', 'peek-message', {
            'from-sequence-number': types.wrap_long(1), 'message-count': types.wrap_int(10),
        });
        for (const { message: raw } of body.messages || []) {
            const m = message.decode(raw);
            const a = m.message_annotations;
            say(`peeked ${m.message_id} number ${a['x-opt-sequence-number']} state ${a['x-opt-message-state'] || 0}`);
        }
    }
}

const scenarios = {
    async send(b) {
        await b.send(b.sender, text('a', { subject: 's', application_properties: { n: types.wrap_long(7) }, ttl: 60000 }));
        const r = await b.receiver();
        const got = await b.take(r);
        say(`${bodyOf(got.m)} subject ${got.m.subject} n ${got.m.application_properties.n} ttl ${got.m.ttl / 1000}`);
        await counts();
        await b.complete(r, got);
        await counts();
    },
    async batch(b) {
        await b.send(b.sender, b.batch([text('a'), text('b')]), BATCH_FORMAT);
        const r = await b.receiver();
        await b.complete(r, await b.take(r));
        await b.complete(r, await b.take(r));
    },
    async 'receive-and-delete'(b) {
        await b.sendAll('a');
        await b.take(await b.receiver({ del: true }));
        await counts();
    },
    async abandon(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        const { delivery } = await b.take(r);
        await b.settle(r, delivery, (d) => d.modified({ undeliverable_here: false, message_annotations: { tried: 'yes' } }));
        say(`tried ${(await b.take(r)).m.application_properties.tried}`);
    },
    async release(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        const { delivery } = await b.take(r);
        await b.settle(r, delivery, (d) => d.release());
        await b.take(r);
    },
    async defer(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        const { m, delivery } = await b.take(r);
        const number = Number(m.message_annotations['x-opt-sequence-number']);
        await b.settle(r, delivery, (d) => d.modified({ undeliverable_here: true }));
        await counts();
        const ask = { 'sequence-numbers': longs([number]), 'receiver-settle-mode': types.wrap_uint(1) };
        const body = await b.manage('q', 'receive-by-sequence-number', ask);
        const [{ message: raw, 'lock-token': token }] = body.messages;
        say(`${message.decode(raw).message_id} came`);
        await refused('again', b.manage('q', 'receive-by-sequence-number', ask));
        await b.settleByToken(token, 'completed');
        await counts();
    },
    async 'dead-letter'(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        const { delivery } = await b.take(r);
        await b.settle(r, delivery, (d) => d.reject({
            condition: 'com.microsoft:dead-letter', info: { DeadLetterReason: 'why', DeadLetterErrorDescription: 'because' },
        }));
        await b.sayDead();
        await counts();
    },
    async 'settle-by-token'(b) {
        await b.sendAll('a', 'b', 'c');
        const r = await b.receiver();
        const tokens = [];
        for (let i = 0; i < 3; i++) tokens.push(lockToken((await b.take(r)).delivery.tag));
        await b.settleByToken(tokens[0], 'completed');
        await b.settleByToken(tokens[1], 'abandoned', { 'properties-to-modify': types.wrap_map({ tried: 'yes' }) });
        await b.settleByToken(tokens[2], 'suspended', { 'deadletter-reason': 'why', 'deadletter-description': 'because' });
        await refused('again', b.settleByToken(tokens[0], 'completed'));
        say(`tried ${(await b.take(r)).m.application_properties.tried}`);
        await b.sayDead();
    },
    async 'renew-lock'(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        const got = await b.take(r);
        const token = lockToken(got.delivery.tag);
        await pass(50);
        const { expirations } = await b.renew(token);
        const by = (expirations[0] - got.m.message_annotations['x-opt-locked-until']) / 1000;
        say(`renewed by ${Math.round(by / 10) * 10}`);
        await pass(50);
        await b.complete(r, got);
        await refused('renew', b.renew(token));
    },
    async 'lock-expiry'(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        const first = await b.take(r);
        await pass(61);
        const second = await b.take(r);
        await refused('first', b.complete(r, first));
        await refused('second', b.complete(r, second));
    },
    async 'maximum-delivery-count'(b) {
        await b.sendAll('a');
        const r = await b.receiver();
        for (let i = 0; i < 3; i++) {
            const { delivery } = await b.take(r);
            await b.settle(r, delivery, (d) => d.modified({}));
        }
        await b.sayDead();
    },
    async 'time-to-live'(b) {
        await b.send(b.sender, text('a', { ttl: 30000 }));
        await pass(30);
        await b.sayDead();
    },
    async duplicates(b) {
        await b.sendAll('a', 'a');
        const r = await b.receiver();
        await b.complete(r, await b.take(r));
        await b.sendAll('a', 'b');
        await b.complete(r, await b.take(r));
        await b.schedule('c');
        await b.sendAll('c');
        await counts();
        await pass(40);
        await b.sendAll('a');
        await counts();
    },
    async schedule(b) {
        const numbers = await b.schedule('a', 'b');
        await counts();
        await b.manage('q', 'cancel-scheduled-message', { 'sequence-numbers': longs([numbers[1]]) });
        await refused('cancel again', b.manage('q', 'cancel-scheduled-message', { 'sequence-numbers': longs([numbers[1]]) }));
        await pass(61);
        const { m } = await b.take(await b.receiver());
        say(`number ${m.message_annotations['x-opt-sequence-number']}`);
        await counts();
    },
    async peek(b) {
        await b.peek();
        await b.sendAll('a', 'b');
        await b.schedule('c');
        await b.take(await b.receiver());
        await b.peek();
    },
    async 'too-large'(b) {
        const limit = Number(b.sender.remote.attach.max_message_size);
        if (limit !== 1000) throw new Error(`the attach says max-message-size ${limit}`);
        await refused('small', b.send(b.sender, text('a', { body: message.data_section(Buffer.alloc(500)) })));
        await refused('send', b.send(b.sender, text('a', { body: message.data_section(Buffer.alloc(2000)) })));
        await counts();
    },
    async 'unknown-queue'(b) {
        await refused('send', b.claim('nowhere'));
    },
    async 'session-filter'(b) {
        const filter = { [SESSION_FILTER]: types.wrap_described('s', 0x137000000c) };
        await refused('accept', b.receiver({ filter }));
        await b.sendAll('a');
        await counts();
    },
    async 'send-to-dead-letters'(b) {
        await b.claim('q/$DeadLetterQueue');
        await refused('send', b.openSender('q/$DeadLetterQueue'));
    },
    async 'wrong-key'(b) {
        b.options.key.secret = 'wrong';
        await refused('send', b.claim('q'));
    },
    async 'expired-token'(b) {
        b.options.expires = 1;
        await refused('send', b.claim('q'));
    },
    async 'missing-right'(b) {
        b.options.key = { name: 'sender', secret: 'sender' };
        await b.claim('q');
        const sender = await b.openSender('q');
        await b.send(sender, text('a'));
        await refused('receive', b.receiver());
        await counts();
    },
};

async function main() {
    for (let line = await input.next(); !line.done; line = await input.next()) {
        const { scenario, ...options } = JSON.parse(line.value);
        const b = new Bench({ ...options, expires: Math.floor(Date.now() / 1000) + 3600 });
        try {
            await b.open();
            await scenarios[scenario](b);
            await b.close();
        } catch (error) {
            say(`! ${error.stack}`);
        }
        say('.');
    }
}

main();
