'use strict';

const test = require('node:test');
const assert = require('node:assert');
const announce = require('..');

test('one bird', () => assert.strictEqual(announce(1), 'Hello, 1 harrier'));
test('more birds', () => assert.strictEqual(announce(24), 'Hello, 24 harriers'));
