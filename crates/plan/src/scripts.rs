//! Lists of commands become [`Script`]s (`executors.md` §3.1): trimmed items, sections for those of several lines.

use crate::flags::{Flag, Flags};
use crate::{Script, ScriptItem};

/// What all scripts of a job have in common.
pub(crate) struct Scripts {
    check_each: bool,
    xtrace: bool,
    sections: bool,
}

impl Scripts {
    /// `trace_sections`: the server understands section markers.
    pub fn new(flags: &Flags, xtrace: bool, trace_sections: bool) -> Self {
        Self {
            check_each: flags.on(Flag::EnableBashExitCodeCheck),
            xtrace,
            sections: flags.on(Flag::ScriptSections) && trace_sections,
        }
    }

    /// A script of `items`; see [`Self::items`].
    pub fn script<'a>(
        &self,
        items: impl IntoIterator<Item = &'a str>,
        prefix: &str,
        announce: Option<&str>,
    ) -> Script {
        self.of_items(self.items(items, prefix), announce)
    }

    /// A script of items made ready.
    pub fn of_items(&self, items: Vec<ScriptItem>, announce: Option<&str>) -> Script {
        Script {
            items,
            check_each: self.check_each,
            xtrace: self.xtrace,
            announce: announce.map(str::to_owned),
        }
    }

    /// Items of one list; `prefix` names their sections (`script_step` gives `section_script_step_0`, …).
    pub fn items<'a>(&self, items: impl IntoIterator<Item = &'a str>, prefix: &str) -> Vec<ScriptItem> {
        items
            .into_iter()
            .enumerate()
            .map(|(at, text)| {
                let text = text.trim();
                let wrap = self.sections && text.contains('\n');
                ScriptItem { text: text.to_owned(), section: wrap.then(|| format!("section_{prefix}_{at}")) }
            })
            .collect()
    }
}
