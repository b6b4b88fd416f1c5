namespace TransferEngine.Adaptation;

/// <summary>A classical method as a whole: fitted on a labelled source and an unlabelled target, it predicts the target's classes.</summary>
public interface IClassicalMethod
{
    /// <summary>What tables call it.</summary>
    string Name { get; }

    /// <summary>Fits.</summary>
    /// <param name="data">Both domains.</param>
    /// <param name="progress">Hears of each iteration of an iterative method.</param>
    /// <param name="cancellation">Looked at before each iteration.</param>
    /// <returns>What predicts the classes of rows of the target, those that it was fitted on or new ones.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    IPredictor Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default);
}

/// <summary>Predicts the classes of rows.</summary>
public interface IPredictor
{
    /// <summary>Predicts.</summary>
    /// <param name="features">[k, d].</param>
    /// <returns>[k], Int32.</returns>
    /// <exception cref="ShapeException">The rows have not as many features as those of the fit.</exception>
    Tensor Predict(Tensor features);
}

/// <summary>A classifier of features that knows nothing of domains.</summary>
public interface IFeatureClassifier
{
    /// <summary>What tables call it.</summary>
    string Name { get; }

    /// <summary>Fits.</summary>
    /// <param name="features">[n, d], floating.</param>
    /// <param name="labels">[n], Int32, from 0 to <paramref name="classes"/> - 1.</param>
    /// <param name="classes">The number of classes.</param>
    /// <param name="weights">What each row weighs, n numbers, 0 or more; all alike if null.</param>
    /// <param name="cancellation">Looked at between iterations.</param>
    /// <exception cref="ShapeException">The shapes do not fit each other.</exception>
    /// <exception cref="ArgumentException">There are not as many weights as rows, or one is negative, or the classifier takes none.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    IPredictor Fit(Tensor features, Tensor labels, int classes, IReadOnlyList<double>? weights = null, CancellationToken cancellation = default);
}

/// <summary>A method that moves the features of both domains to where they are alike.</summary>
public interface IFeatureAlignment
{
    /// <summary>What tables call it.</summary>
    string Name { get; }

    /// <summary>Fits.</summary>
    /// <param name="data">Both domains.</param>
    /// <param name="progress">Hears of each iteration of an iterative method.</param>
    /// <param name="cancellation">Looked at before each iteration.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default);
}

/// <summary>Where the features of both domains are alike: a classifier that is fitted on the source's there serves the target's.</summary>
public interface IAlignedSpace
{
    /// <summary>Moves rows of the source, those of the fit or new ones.</summary>
    /// <param name="rows">[k, d].</param>
    /// <returns>[k, p].</returns>
    Tensor Source(Tensor rows);

    /// <summary>Moves rows of the target, those of the fit or new ones.</summary>
    /// <param name="rows">[k, d].</param>
    /// <returns>[k, p].</returns>
    Tensor Target(Tensor rows);
}

/// <summary>A method that weighs the source's rows so that together they are distributed as the target's.</summary>
public interface ISampleWeighting
{
    /// <summary>What tables call it.</summary>
    string Name { get; }

    /// <summary>Estimates the weights.</summary>
    /// <param name="source">[n, d].</param>
    /// <param name="target">[m, d].</param>
    /// <param name="progress">Hears of each iteration of an iterative method.</param>
    /// <param name="cancellation">Looked at before each iteration.</param>
    /// <returns>A weight of each row of the source, 0 or more, about 1 on average: estimates of p_target / p_source.</returns>
    /// <exception cref="ShapeException">The shapes do not fit each other.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    double[] Weights(Tensor source, Tensor target, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default);
}
