//! Tables without borders, coloured on a terminal only.

use std::io::{self, IsTerminal};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

/// Whether there may be colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// On a terminal, unless `NO_COLOR` is set to something.
    pub fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !refused { Self::Coloured } else { Self::Plain }
    }
}

/// A table in the making.
pub(super) struct Sheet(Table);

impl Sheet {
    pub fn new(style: Style) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        match style {
            Style::Plain => table.force_no_tty(),
            Style::Coloured => table.enforce_styling(),
        };
        Self(table)
    }

    pub fn headed<const N: usize>(style: Style, header: [&str; N]) -> Self {
        let mut sheet = Self::new(style);
        sheet.0.set_header(header.map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
        sheet
    }

    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.0.add_row(cells);
    }

    pub fn finish(mut self) -> String {
        for column in self.0.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.0.trim_fmt() + "\n"
    }
}

pub(super) fn text(content: impl ToString) -> Cell {
    Cell::new(content)
}

pub(super) fn number(content: impl ToString) -> Cell {
    Cell::new(content).set_alignment(CellAlignment::Right)
}

pub(super) fn good(content: impl ToString) -> Cell {
    Cell::new(content).fg(Color::Green)
}

pub(super) fn bad(content: impl ToString) -> Cell {
    Cell::new(content).fg(Color::Red)
}

pub(super) fn pending(content: impl ToString) -> Cell {
    Cell::new(content).fg(Color::Yellow)
}
