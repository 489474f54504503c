'use strict';

const plural = require('plural');

exports.greet = (word, count) => `Hello, ${count} ${plural(word, count)}`;
