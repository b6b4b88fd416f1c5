using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>The linear support vector machine: its primal objective at its best, schemes, weights of rows, and the choice of C; MEDA's normal equations.</summary>
public class LinearSvmTests
{
    private static readonly double[][] Points = [.. Rows(30, 3, 1, 0).Select((row, i) => row.Select((x, j) => x + (j == i % 3 ? 0.8 : 0)).ToArray())];
    private static readonly int[] Labels = [.. Enumerable.Range(0, 30).Select(i => i % 3)];

    [Theory, InlineData(SvmLoss.Hinge), InlineData(SvmLoss.SquaredHinge)]
    public void Predictions_are_those_of_the_least_objective(SvmLoss loss)
    {
        // One class against the rest, by a subgradient descent that is slow and simple; where its margin is clear, the machine agrees.
        double[] weights = [.. Enumerable.Range(0, 30).Select(i => 0.5 + i % 4)];
        double[][] rows = [.. Rows(200, 3, 2, 0.3)];
        int[] binary = [.. Labels.Select(label => label == 0 ? 0 : 1)];
        double[] w = Descend(binary, weights, loss, 0.7);
        int[] predicted = new LinearSvm(new() { C = 0.7, Loss = loss, Tolerance = 1e-8 }).Fit(From(Points), Tensor.From(binary), 2, weights).Predict(From(rows)).ToArray<int>();
        int clear = 0;
        foreach (var (row, label) in rows.Zip(predicted))
        {
            double f = row[0] * w[0] + row[1] * w[1] + row[2] * w[2] + w[3];
            if (Math.Abs(f) < 0.02)
                continue;
            clear++;
            Assert.Equal(f > 0 ? 1 : 0, label);
        }
        Assert.InRange(clear, 150, 200);
    }

    [Theory, InlineData(MulticlassScheme.OneVersusRest), InlineData(MulticlassScheme.OneVersusOne)]
    public void A_weight_of_two_is_a_row_twice_and_a_weight_of_none_is_no_row(MulticlassScheme scheme)
    {
        var settings = new LinearSvmSettings { Scheme = scheme, Tolerance = 1e-10, MaxEpochs = 100_000 };
        double[] weights = [.. Enumerable.Range(0, 30).Select(i => (double)(i % 5 == 0 ? 2 : i % 7 == 0 ? 0 : 1))];
        int[] taken = [.. Enumerable.Range(0, 30).SelectMany(i => Enumerable.Repeat(i, (int)weights[i]))];
        var rows = From(Rows(300, 3, 2, 0.3));
        int[] weighed = new LinearSvm(settings).Fit(From(Points), Tensor.From(Labels), 3, weights).Predict(rows).ToArray<int>();
        int[] repeated = new LinearSvm(settings).Fit(From([.. taken.Select(i => Points[i])]), Tensor.From([.. taken.Select(i => Labels[i])]), 3).Predict(rows).ToArray<int>();
        Assert.InRange(weighed.Zip(repeated).Count(pair => pair.First != pair.Second), 0, 1); // one may lie on a border
        Assert.Equal(3, weighed.Distinct().Count());
        Assert.Equal(weighed, new LinearSvm(settings).Fit(From(Points), Tensor.From(Labels), 3, weights).Predict(rows).ToArray<int>());
        int[] single = new LinearSvm(settings).Fit(From(Points).To(ElementType.Float32), Tensor.From(Labels), 3, weights).Predict(rows.To(ElementType.Float32)).ToArray<int>();
        Assert.InRange(weighed.Zip(single).Count(pair => pair.First != pair.Second), 0, 1);
    }

    [Fact]
    public void Separable_classes_are_told_apart_and_missing_ones_never_predicted()
    {
        double[][] apart = [.. Points.Select((row, i) => row.Select((x, j) => x + (j == i % 3 ? 9 : 0)).ToArray())];
        foreach (var scheme in Enum.GetValues<MulticlassScheme>())
        {
            foreach (var loss in Enum.GetValues<SvmLoss>())
                Assert.Equal(Labels, new LinearSvm(new() { Scheme = scheme, Loss = loss }).Fit(From(apart), Tensor.From(Labels), 4).Predict(From(apart)).ToArray<int>());
            Assert.All(new LinearSvm(new() { Scheme = scheme }).Fit(From(apart), Tensor.From(new int[30]), 1).Predict(From(apart)).ToArray<int>(), label => Assert.Equal(0, label));
        }
    }

    [Fact]
    public void C_is_chosen_by_rows_that_were_left_out()
    {
        double[] candidates = [100, 1e-5, 0.01, 1];
        double Right(double c) => Enumerable.Range(0, 3).Sum(fold =>
        {
            // The i-th row of a class is in part i modulo 3; rows of a class are every third.
            int[] kept = [.. Enumerable.Range(0, 30).Where(i => i / 3 % 3 != fold)], held = [.. Enumerable.Range(0, 30).Where(i => i / 3 % 3 == fold)];
            return new LinearSvm(new() { C = c }).Fit(From([.. kept.Select(i => Points[i])]), Tensor.From([.. kept.Select(i => Labels[i])]), 3)
                .Predict(From([.. held.Select(i => Points[i])])).ToArray<int>().Zip(held, (label, i) => label == Labels[i] ? 1.0 : 0).Sum();
        });
        double best = candidates.Order().MaxBy(Right);
        Assert.True(candidates.Select(Right).Distinct().Count() > 1);
        var rows = From(Rows(500, 3, 2, 0.3));
        int[] want = new LinearSvm(new() { C = best }).Fit(From(Points), Tensor.From(Labels), 3).Predict(rows).ToArray<int>();
        Assert.Equal(want, new LinearSvm(new() { Candidates = candidates, Folds = 3 }).Fit(From(Points), Tensor.From(Labels), 3).Predict(rows).ToArray<int>());
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new LinearSvm(new() { C = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new LinearSvm(new() { Candidates = [] }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new LinearSvm(new() { Folds = 1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new LinearSvm(new() { Tolerance = 0 }));
        Assert.Throws<ArgumentException>(() => new LinearSvm().Fit(From(Points), Tensor.From(Labels), 3, [1]));
        Assert.Throws<ArgumentException>(() => new LinearSvm().Fit(From(Points), Tensor.From(Labels), 3, [.. Enumerable.Repeat(-1.0, 30)]));
        Assert.Throws<ShapeException>(() => new LinearSvm().Fit(From(Points), Tensor.From(Labels), 3).Predict(Tensor.Ones([2, 4], type: ElementType.Float64)));
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() => new LinearSvm().Fit(From(Points), Tensor.From(Labels), 3, cancellation: cancelled.Token));
    }

    /// <summary>(w, b) of class 1 against class 0, its gradient steps averaged over the second half.</summary>
    private static double[] Descend(int[] labels, double[] weights, SvmLoss loss, double c)
    {
        double[] w = new double[4], mean = new double[4];
        const int Steps = 200_000;
        for (int step = 0; step < Steps; step++)
        {
            double[] gradient = [.. w];
            for (int i = 0; i < Points.Length; i++)
            {
                double y = labels[i] == 1 ? 1 : -1, slack = 1 - y * (Points[i][0] * w[0] + Points[i][1] * w[1] + Points[i][2] * w[2] + w[3]);
                if (slack <= 0)
                    continue;
                double slope = c * weights[i] * y * (loss == SvmLoss.Hinge ? 1 : 2 * slack);
                for (int j = 0; j < 4; j++)
                    gradient[j] -= slope * (j < 3 ? Points[i][j] : 1);
            }
            for (int j = 0; j < 4; j++)
            {
                w[j] -= gradient[j] * 2 / (step + 400);
                mean[j] += step >= Steps / 2 ? w[j] / (Steps / 2) : 0;
            }
        }
        return mean;
    }
}
