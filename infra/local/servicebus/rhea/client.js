// A small Service Bus client on rhea, written from the protocol and not from any SDK:
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide and
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response.
'use strict';
const crypto = require('node:crypto');
const rhea = require('rhea');
const { types, message } = rhea;

const SESSION_FILTER = 'com.microsoft:session-filter';
const BATCH_FORMAT = 0x80013700;

// Refused is what the broker said no with: an AMQP condition or a status.
class Refused extends Error {
    constructor(condition, description) {
        super(`${condition}: ${description}`);
        this.condition = String(condition);
        this.description = String(description);
    }
}

// once waits for one of an emitter's events; those in fails reject.
function once(emitter, good, fails) {
    return new Promise((resolve, reject) => {
        const all = {};
        const end = (settle) => (value) => {
            for (const [event, f] of Object.entries(all)) emitter.removeListener(event, f);
            settle(value);
        };
        all[good] = end(resolve);
        for (const [event, reason] of Object.entries(fails || {})) {
            all[event] = (context) => end(reject)(reason(context));
        }
        for (const [event, f] of Object.entries(all)) emitter.on(event, f);
    });
}

const linkRefused = (link) => () => new Refused((link.error || {}).condition, (link.error || {}).description);

class Client {
    // options: host, port, key {name, secret}, and expires, in seconds since 1970.
    constructor(options) {
        this.options = options;
        this.requests = new Map(); // by message id
        this.management = new Map(); // links by address
        this.next = 1;
    }

    async connect() {
        const container = rhea.create_container();
        container.on('error', () => {}); // comes to the link's own events too
        this.connection = container.connect({
            host: this.options.host, port: this.options.port, reconnect: false,
            username: 'anonymous', // makes rhea choose SASL ANONYMOUS
        });
        await once(this.connection, 'connection_open', { disconnected: (c) => c.error || new Error('disconnected') });
        return this;
    }

    async close() {
        const closed = once(this.connection, 'connection_close', { disconnected: () => new Error('disconnected') });
        this.connection.close();
        await closed.catch(() => {});
    }

    // token signs a SAS token (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas).
    token(audience) {
        const { key, expires } = this.options;
        const resource = encodeURIComponent(audience);
        const signature = crypto.createHmac('sha256', key.secret).update(`${resource}\n${expires}`).digest('base64');
        return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expires}&skn=${key.name}`;
    }

    async claim(path) {
        const audience = `amqp://${this.options.host}:${this.options.port}/${path}`;
        await this.request('$cbs', this.token(audience), {
            operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: audience,
        });
    }

    // request sends a request and returns the body of its answer; a status that
    // is no success is thrown.
    async request(address, body, properties) {
        if (!this.management.has(address)) this.management.set(address, await this.openPair(address));
        const { sender, replyTo } = this.management.get(address);
        const id = `request-${this.next++}`;
        const answer = new Promise((resolve) => this.requests.set(id, resolve));
        sender.send({ message_id: id, reply_to: replyTo, application_properties: properties, body });
        const m = await answer;
        const p = m.application_properties;
        const status = p.statusCode || p['status-code'];
        if (status >= 300) throw new Refused(status, p.statusDescription || p['status-description']);
        return status === 204 ? {} : m.body;
    }

    async openPair(address) {
        const replyTo = `${address}-answers`;
        const sender = await this.openSender(address);
        const receiver = await this.attach('receiver', {
            source: { address }, target: { address: replyTo }, snd_settle_mode: 1, credit_window: 100, autoaccept: false,
        });
        receiver.on('message', ({ message: m }) => {
            this.requests.get(m.correlation_id)(m);
            this.requests.delete(m.correlation_id);
        });
        return { sender, replyTo };
    }

    manage(queue, operation, body) {
        return this.request(`${queue}/$management`, types.wrap_map(body), { operation: `com.microsoft:${operation}` });
    }

    // attach opens a link. A broker that refuses one attaches it without source
    // and target first, and then detaches it with the reason.
    async attach(role, options) {
        const link = role === 'sender' ? this.connection.open_sender(options) : this.connection.open_receiver(options);
        await new Promise((resolve, reject) => {
            link.once(`${role}_error`, () => reject(linkRefused(link)()));
            link.once(`${role}_open`, () => {
                const node = role === 'sender' ? link.target : link.source;
                if (node && node.address) resolve();
            });
        });
        for (const mode of ['snd_settle_mode', 'rcv_settle_mode']) {
            const [asked, got] = [options[mode], link.remote.attach[mode]];
            if (asked !== undefined && asked !== got) throw new Error(`${mode} ${asked} answered with ${got}`);
        }
        return link;
    }

    async openSender(address) {
        const sender = await this.attach('sender', { target: { address }, autosettle: true });
        if (!sender.sendable()) await once(sender, 'sendable', { sender_error: linkRefused(sender) });
        return sender;
    }

    // openReceiver: with del, messages are settled as they are sent.
    openReceiver(address, { del = false, filter } = {}) {
        return this.attach('receiver', {
            source: { address, filter }, credit_window: 0, autoaccept: false,
            snd_settle_mode: del ? 1 : 2, rcv_settle_mode: del ? 0 : 1,
        });
    }

    // send waits until the broker has taken the message, or the encoded batch.
    async send(sender, m, format) {
        const delivery = format === undefined ? sender.send(m) : sender.send(m, undefined, format);
        const context = await once(sender, 'settled', { sender_error: linkRefused(sender) });
        if (context.delivery !== delivery) throw new Error('another delivery was settled');
        const error = (delivery.remote_state || {}).error;
        if (error) throw new Refused(error.condition, error.description);
    }

    batch(messages) {
        return message.encode({ body: message.data_sections(messages.map((m) => message.encode(m))) });
    }

    async receive(receiver) {
        receiver.add_credit(1);
        const { message: m, delivery } = await once(receiver, 'message', { receiver_error: linkRefused(receiver) });
        return { m, delivery };
    }

    // settle ends a delivery and waits for the broker's word on it.
    async settle(receiver, delivery, how) {
        const settled = once(receiver, 'settled', { receiver_error: linkRefused(receiver) });
        how(delivery);
        const error = ((await settled).delivery.remote_state || {}).error;
        if (error) throw new Refused(error.condition, error.description);
    }
}

// lockToken turns a delivery tag, a .NET Guid, into the order of an AMQP uuid.
function lockToken(tag) {
    const t = Buffer.from(tag);
    for (const [a, b] of [[0, 3], [1, 2], [4, 5], [6, 7]]) [t[a], t[b]] = [t[b], t[a]];
    return t;
}

const uuids = (list) => types.wrap_array(list, 0x98);
const longs = (list) => types.wrap_array(list, 0x81);

module.exports = { Client, Refused, lockToken, uuids, longs, types, message, SESSION_FILTER, BATCH_FORMAT };
