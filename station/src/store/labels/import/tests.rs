use super::*;
use crate::store::{labels, tests, Error};

const TABLE: &str = "id,feeder,position,tags\nt1,F1,1,hold 检修\nt2,F1,2,\n\nt3,\"F 9\",,a;b\n";

#[test]
fn what_is_no_table_of_terminals_is_refused_with_its_line() {
    for (text, reason) in [
        ("", "no column 'id'"),
        ("feeder\nF1\n", "no column 'id'"),
        (
            "id,feedr\n",
            "'feedr' is no column: there are id, tags, region",
        ),
        ("id,ring,ring\n", "the column 'ring' is there twice"),
    ] {
        let refused = Table::parse(text).unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
    let table = Table::parse("id,ring\nt1\nt 2,R\n\nt3,R\nt3,Q\n").unwrap();
    let refused: Vec<(u64, &str)> = table
        .refused
        .iter()
        .map(|refused| (refused.line, refused.reason.as_str()))
        .collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert_eq!(refused[0], (2, "has 1 cells, the header has 2"));
    assert!(refused[1].0 == 3 && refused[1].1.starts_with("'t 2' is no terminal id"));
    assert_eq!(refused[2], (6, "'t3' is in line 5 already"));
    let many = "id\n".to_owned() + &"t\n".repeat(MAX_LINES + 1);
    assert!(Table::parse(&many).unwrap_err().contains("100000"));
}

#[tokio::test]
async fn a_table_is_imported_whole_or_not_at_all() {
    let (_dir, store) = tests::store();
    let done = store.write(|w| {
        terminals::register(w, 0, "t2")?;
        let table = Table::parse(TABLE).unwrap();
        let planned = plan(w, &table)?;
        assert_eq!((planned.added, planned.changed, planned.refused), (2, 1, 0));
        assert_eq!(terminals::count(w)?, 1, "a plan changes nothing");
        assert_eq!(import(w, 0, &table, "alice")?, planned);
        let labels = labels::of(w, "t1")?;
        assert_eq!(labels.attributes["feeder"], "F1");
        assert_eq!(labels.tags.len(), 2);
        assert_eq!(labels::of(w, "t3")?.attributes["feeder"], "F 9");

        let again = import(w, 0, &table, "alice")?;
        assert_eq!((again.unchanged, again.changes.len()), (3, 0));
        let table = Table::parse("id,feeder,tags\nt1,-,-\nt2,,x\n").unwrap();
        let changed = import(w, 0, &table, "alice")?;
        assert_eq!(changed.changed, 2);
        assert_eq!(labels::of(w, "t1")?.attributes.len(), 1, "the position");
        assert_eq!(labels::of(w, "t1")?.tags.len(), 0);
        assert_eq!(labels::of(w, "t2")?.attributes["feeder"], "F1");

        let table = Table::parse("id,position\nt4,1\nt1,x\n").unwrap();
        let refused = import(w, 0, &table, "alice")?;
        assert_eq!((refused.added, refused.refused), (1, 1));
        assert_eq!(refused.refusals[0].line, 3);
        assert!(
            terminals::candidate(w, "t4")?.is_none(),
            "nothing is imported"
        );
        Ok::<_, Error>(())
    });
    done.await.unwrap();
}
