'use strict';

module.exports = (word, count) => (count === 1 ? word : `${word}s`);
