"""The page of Hybrid Binary Networks: its versions over seeds, and which layers were chosen."""
